import { Agent } from 'node:https';
import Docker from 'dockerode';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { isJsonObject } from '../../oci/json.ts';
import { trustSystemAuthorities } from '../../util/system-authorities.ts';
import { untilAborted } from '../../util/until-aborted.ts';
import type { EngineAddress } from './address.ts';
import { get, isAtLeast, LONGEST_SILENCE_MS, TIMEOUT_MS } from './dial.ts';
import { engineError, isOfOtherVersion } from './engine-error.ts';

/** The metadata of an engine. */
export interface EngineFacts {
  /** The unique name that the engine has for itself. */
  readonly id: string;
  /** `Docker 20.10.24`, `Podman 4.3.1`. */
  readonly product: string;
  /** The version of the API that both sides support: `1.41`. */
  readonly apiVersion: string;
  /** The store of images, on which the bytes of saved archives depend. */
  readonly store: string;
  /** True if one name can have images for several platforms, as in the containerd store. */
  readonly keepsPlatforms: boolean;
}

export interface ConnectionOptions {
  /**
   * Returns the address of the engine. Called for each connection, because certificates may have been renewed.
   *
   * @throws Error with a sentence about the setting that cannot be used
   */
  readonly find: () => EngineAddress;
  /** Called with the metadata of the engine when it changes, and when the engine returns. */
  readonly onConnected: (facts: EngineFacts, url: string) => void;
  /** Milliseconds. */
  readonly now: () => number;
}

interface Connected {
  readonly docker: Docker;
  readonly facts: EngineFacts;
  /** Milliseconds, by the clock of the options. */
  readonly since: number;
}

/** The connection to an engine, renewed when needed. */
export interface Connection {
  readonly url: string;
  /**
   * Runs a call of the API. It repeats the call once if another version of the engine took the place of the known one.
   *
   * @throws ServiceError as in {@link engineError}
   */
  call<T>(signal: AbortSignal, run: (connected: Omit<Connected, 'since'>) => Promise<T>): Promise<T>;
}

/** The newest version of the API that this client supports. */
const NEWEST_API = '1.51';
/** Milliseconds until the metadata of an engine is read again, because another engine may have taken its place. */
const FACTS_VALID_MS = 60_000;

/** @throws Error if the settings of the engine cannot be used */
export function createConnection({ find, onConnected, now }: ConnectionOptions): Connection {
  const { url } = find();
  let connecting: Promise<Connected> | undefined;
  let current: Connected | undefined;
  let reported: string | undefined;

  const begin = async (): Promise<Connected> => {
    const { docker, facts } = await negotiate(connectionOptions(addressFrom(find)));
    current = { docker, facts, since: now() };
    const text = JSON.stringify(facts);
    if (text !== reported) onConnected(facts, url);
    reported = text;
    return current;
  };
  const connect = async (signal: AbortSignal): Promise<Connected> => {
    if (current !== undefined && now() - current.since < FACTS_VALID_MS) return current;
    // No client's signal ends it, because other requests wait for the same connection.
    connecting ??= begin().finally(() => {
      connecting = undefined;
    });
    return untilAborted(connecting, signal);
  };
  const forget = (connection: Connected | undefined): void => {
    if (connection !== current) return;
    current = undefined;
    reported = undefined;
  };

  const call = async <T>(
    signal: AbortSignal,
    run: (connection: Connected) => Promise<T>,
    isAgain = false,
  ): Promise<T> => {
    let connection: Connected | undefined;
    try {
      connection = await connect(signal);
      return await run(connection);
    } catch (error) {
      signal.throwIfAborted();
      const known = engineError(error, url);
      const isOther = isOfOtherVersion(error);
      if (isOther || known.code === 'engine-unreachable') forget(connection ?? current);
      if (isOther && !isAgain) return call(signal, run, true);
      throw known;
    }
  };

  return { url, call: (signal, run) => call(signal, run) };
}

/** Returns complete options, because dockerode takes absent ones from environment variables. */
function connectionOptions(address: EngineAddress): Docker.DockerOptions & { agent?: Agent } {
  const timeout = LONGEST_SILENCE_MS;
  if (address.kind === 'unix') {
    const { socketPath } = address;
    return { socketPath, host: undefined, port: undefined, protocol: 'http', timeout };
  }
  const { host, port, tls } = address;
  const protocol = tls === undefined ? 'http' : 'https';
  const named = `${protocol}://${host.includes(':') ? `[${host}]` : host}`;
  const none = { socketPath: undefined, ca: undefined, cert: undefined, key: undefined };
  if (tls === undefined) return { ...none, host: named, port, protocol, timeout };
  const { verify, ca, cert, key } = tls;
  trustSystemAuthorities();
  return {
    ...none,
    host: named,
    port,
    protocol,
    timeout,
    agent: new Agent({ ca, cert, key, rejectUnauthorized: verify }),
  };
}

function addressFrom(find: ConnectionOptions['find']): EngineAddress {
  try {
    return find();
  } catch (error) {
    throw new ServiceError('engine-unreachable', detail('engine-not-found', {}), {
      cause: error,
    });
  }
}

/** @see https://docs.docker.com/reference/api/engine/#versioned-api-and-sdk */
async function negotiate(options: Docker.DockerOptions): Promise<Omit<Connected, 'since'>> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const asked = await get(new Docker(options), '/version', {}, signal);
  const offered = typeof asked.ApiVersion === 'string' ? asked.ApiVersion : NEWEST_API;
  const apiVersion = isAtLeast(offered, NEWEST_API) ? NEWEST_API : offered;
  const docker = new Docker({ ...options, version: `v${apiVersion}` });
  const info = await get(docker, '/info', {}, signal);
  const [component] = Array.isArray(asked.Components) ? (asked.Components as unknown[]) : [];
  const isPodman = isJsonObject(component) && /podman/i.test(`${component.Name}`);
  const keepsPlatforms = /io\.containerd\.snapshotter/.test(JSON.stringify(info.DriverStatus ?? ''));
  return {
    docker,
    facts: {
      id: `${info.ID}`,
      product: `${isPodman ? 'Podman' : 'Docker'} ${asked.Version}`,
      apiVersion,
      store: keepsPlatforms ? `${info.Driver} of containerd` : `${info.Driver}`,
      keepsPlatforms,
    },
  };
}

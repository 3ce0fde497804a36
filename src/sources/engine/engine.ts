import { Agent } from 'node:https';
import type { Readable } from 'node:stream';
import type { DialOptions } from 'docker-modem';
import Docker from 'dockerode';
import { ServiceError } from '../../errors.ts';
import { type ConfigSummary, parseTimestamp, summariseConfig } from '../../oci/config-summary.ts';
import { isJsonObject, type JsonObject } from '../../oci/json.ts';
import { formatPlatform, type Platform, type StatedPlatform, samePlatform } from '../../oci/platform.ts';
import { type Reference, type Repository, referenceOrNone } from '../../oci/reference.ts';
import type { Credentials } from '../../registry/credentials.ts';
import { streamFrom } from '../../util/streams.ts';
import { trustSystemAuthorities } from '../../util/system-authorities.ts';
import { untilAborted } from '../../util/until-aborted.ts';
import type { EngineAddress } from './address.ts';
import { engineError, isOfOtherVersion, messageOf, statusOf } from './engine-error.ts';
import { fullName } from './engine-name.ts';
import { pullError } from './pull-error.ts';
import { createPullProgress, jsonLines, type PullProgress } from './pull-progress.ts';
import { createSilenceLimit } from './silence-limit.ts';
import { wholeTar } from './whole-tar.ts';

/** What an engine says of itself. */
export interface EngineFacts {
  /** Its own name for itself, which no other engine has. */
  readonly id: string;
  /** `Docker 20.10.24`, `Podman 4.3.1`. */
  readonly product: string;
  /** The version of the API that both sides know: `1.41`. */
  readonly apiVersion: string;
  /** How it keeps images, on which the bytes of what it saves depend. */
  readonly store: string;
  /** Whether one name can stand for images of several platforms, as in the containerd store. */
  readonly keepsPlatforms: boolean;
}

/** An image that an engine has, for one platform. */
export interface EngineImage {
  /** Another one for other content: where names keep platforms, the digest of the platform's manifest. */
  readonly id: string;
  /** What the engine lists and removes it by: where names keep platforms, the digest of the index with all of them. */
  readonly listedId: string;
  /** The platform that it has to be asked for by; undefined where its name has no other one. */
  readonly chosen: Platform | undefined;
  /** Bytes, unpacked, unless the engine keeps images packed. */
  readonly size: number;
  readonly platform: StatedPlatform;
  readonly repoDigests: readonly string[];
  readonly created: Date | undefined;
  readonly config: ConfigSummary;
}

/** An image as an engine lists it, with whatever platforms it has. */
export interface ListedImage {
  /** Bytes of all its platforms. */
  readonly size: number;
  /** In full: `docker.io/library/busybox:latest`. */
  readonly tags: readonly string[];
}

export interface PullOrder {
  readonly reference: Reference;
  /** Undefined: the engine's own, or what a digest names. */
  readonly platform: Platform | undefined;
  readonly credentials: Credentials | undefined;
  /** Told whenever the engine tells how far it is; what it throws ends the pull. */
  readonly onProgress: (progress: PullProgress) => void;
}

/**
 * A Docker engine, or what speaks its API. Everything here throws ServiceError `engine-unreachable` where nothing
 * answers, and `engine-failed` where what answers does not do its work.
 *
 * @see https://docs.docker.com/reference/api/engine/
 */
export interface Engine {
  readonly url: string;
  /** Asks who it is, once for as long as it answers. */
  describe(signal: AbortSignal): Promise<EngineFacts>;
  /** Asks whether it answers. */
  ping(signal: AbortSignal): Promise<void>;
  /**
   * Looks at an image by name; undefined where it has none. Where names keep platforms, at the one for this platform, or
   * at what the engine takes the name for where it has not got that one.
   */
  inspect(
    name: string,
    platform: Platform | undefined,
    signal: AbortSignal,
  ): Promise<EngineImage | undefined>;
  /** The tags that its images have in a repository. */
  tags(repository: Repository, signal: AbortSignal): Promise<readonly string[]>;
  /** All its images, by their IDs. */
  images(signal: AbortSignal): Promise<ReadonlyMap<string, ListedImage>>;
  /** Pulls one image. @throws ServiceError what the registry's trouble is */
  pull(order: PullOrder, signal: AbortSignal): Promise<void>;
  /**
   * Saves images, from its first byte on; a stream that is no whole tar fails.
   *
   * @param platform the one that all of them were chosen by, if any
   */
  save(names: readonly string[], platform: Platform | undefined, signal: AbortSignal): Promise<Readable>;
  /** Takes a name or an ID away, and the image with its last name; false where something still needs it. */
  remove(name: string, signal: AbortSignal): Promise<boolean>;
}

/** The newest version of the API that this client was written for. */
const NEWEST_API = '1.51';
const PLATFORM_ON_PULL = '1.32';
/** On an engine that does not keep platforms it says nothing new, so that only the others are told. */
const PLATFORM_ON_SAVE = '1.48';
const PLATFORM_ON_INSPECT = '1.49';
/** Milliseconds for what an engine knows without asking anybody. */
const PATIENCE_MS = 60_000;
/** Milliseconds: an engine unpacks a large layer, or writes a large image for saving, without a word. */
const LONGEST_SILENCE_MS = 30 * 60_000;
/** Milliseconds: dockerd itself waits without end for a registry that takes a connection and says nothing. */
const REGISTRY_PATIENCE_MS = 120_000;
/** What that is called. */
const SILENCE = 'timeout: the engine heard nothing of the registry';
/** Milliseconds after which an engine is asked anew who it is: another one may have taken its place in silence. */
const FACTS_STAND_MS = 60_000;

export interface EngineOptions {
  /**
   * Tells where it is, whenever it is connected to: certificates may have been renewed.
   *
   * @throws Error whose message is a sentence about what cannot be used
   */
  readonly find: () => EngineAddress;
  /** Told who answers, each time that it is somebody else or was away. */
  readonly onConnected: (facts: EngineFacts, url: string) => void;
  /** Milliseconds. */
  readonly now: () => number;
  /** Milliseconds that an engine may wait for a registry without a word; 120 000 unless told. */
  readonly registryPatience?: number;
}

interface Connection {
  readonly docker: Docker;
  readonly facts: EngineFacts;
  /** Milliseconds, by the clock of the options. */
  readonly since: number;
}

/** Speaks to an engine by dockerode. @throws Error what is said of where it is cannot be used */
export function createEngine({
  find,
  onConnected,
  now,
  registryPatience = REGISTRY_PATIENCE_MS,
}: EngineOptions): Engine {
  const { url } = find();
  let connecting: Promise<Connection> | undefined;
  let current: Connection | undefined;
  let told: string | undefined;

  const begin = async (): Promise<Connection> => {
    const { docker, facts } = await negotiate(connectionOptions(addressFrom(find)));
    current = { docker, facts, since: now() };
    const text = JSON.stringify(facts);
    if (text !== told) onConnected(facts, url);
    told = text;
    return current;
  };
  const connect = async (signal: AbortSignal): Promise<Connection> => {
    if (current !== undefined && now() - current.since < FACTS_STAND_MS) return current;
    // Not ended by a client's signal: others wait for the same.
    connecting ??= begin().finally(() => {
      connecting = undefined;
    });
    return untilAborted(connecting, signal);
  };
  const forget = (connection: Connection | undefined): void => {
    if (connection !== current) return;
    current = undefined;
    told = undefined;
  };

  /** Runs a call of the API; an engine that went may come back as another one, so that it is asked anew who it is. */
  const call = async <T>(
    signal: AbortSignal,
    run: (connection: Connection) => Promise<T>,
    isAgain = false,
  ): Promise<T> => {
    let connection: Connection | undefined;
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

  return {
    url,
    describe: (signal) => call(signal, async ({ facts }) => facts),

    ping: (signal) =>
      call(signal, async ({ docker }) => {
        await get(docker, '/version', {}, signal);
      }),

    inspect: (name, platform, signal) =>
      call(signal, async ({ docker, facts }) => {
        const look = (query: Record<string, string>): Promise<EngineImage | undefined> =>
          get(docker, `/images/${name}/json`, query, signal).then(readImage, noneIfMissing);
        const image = await look({});
        const hasOthers = facts.keepsPlatforms && isAtLeast(facts.apiVersion, PLATFORM_ON_SAVE);
        if (image === undefined || platform === undefined || !hasOthers) return image;
        if (!isAtLeast(facts.apiVersion, PLATFORM_ON_INSPECT))
          return samePlatform(platform, image.platform) ? { ...image, chosen: platform } : image;
        const own = await look({ platform: JSON.stringify(ociPlatform(platform)) });
        return own === undefined ? image : { ...own, listedId: image.listedId, chosen: platform };
      }),

    tags: (repository, signal) =>
      call(signal, async ({ docker }) => {
        const images = await docker.listImages({ abortSignal: limited(signal) });
        const tagged = images.flatMap(({ RepoTags }) => tagsIn(RepoTags)).map(referenceOrNone);
        const isOfIt = (found: Reference | undefined): boolean =>
          found?.domain === repository.domain && found.path === repository.path;
        return tagged.filter(isOfIt).flatMap((found) => found?.tag ?? []);
      }),

    images: (signal) =>
      call(signal, async ({ docker }) => {
        const images = await docker.listImages({ abortSignal: limited(signal) });
        return new Map(images.map(({ Id, Size, RepoTags }) => [Id, { size: Size, tags: tagsIn(RepoTags) }]));
      }),

    pull: ({ reference, platform, credentials, onProgress }, signal) =>
      call(signal, async ({ docker, facts: { apiVersion } }) => {
        const refused = (message: string): ServiceError =>
          pullError(message, { reference, platform, withCredentials: credentials !== undefined });
        const takesPlatform = platform !== undefined && isAtLeast(apiVersion, PLATFORM_ON_PULL);
        const silence = createSilenceLimit(registryPatience);
        const query = {
          fromImage: reference.name,
          // Without one, the engine would pull all tags of the repository.
          tag: reference.digest ?? reference.tag ?? 'latest',
          ...(takesPlatform && { platform: formatPlatform(platform) }),
          abortSignal: AbortSignal.any([signal, silence.signal]),
        };
        const progress = createPullProgress();
        try {
          const report = await docker
            .createImage(registryAuth(credentials, reference), query)
            .catch((error: unknown) => {
              throw statusOf(error) === undefined || isOfOtherVersion(error)
                ? error
                : refused(messageOf(error));
            });
          for await (const line of jsonLines(report as AsyncIterable<Buffer>)) {
            const message = progress.take(line);
            if (message !== undefined) throw refused(message);
            silence.heard(progress.isFetching ? registryPatience : LONGEST_SILENCE_MS);
            onProgress(progress);
          }
        } catch (error) {
          throw silence.signal.aborted ? refused(SILENCE) : error;
        } finally {
          silence.end();
        }
      }),

    save: (names, platform, signal) =>
      call(signal, async ({ docker }) => {
        const query = { names, ...(platform && { platform: JSON.stringify(ociPlatform(platform)) }) };
        const response = await dial(
          docker,
          { ...GET, path: '/images/get?', options: query, isStream: true },
          signal,
        );
        const chunks = response as Readable;
        // A failure before anybody reads must not end the process.
        chunks.on('error', () => {});
        const stream = streamFrom((ended) => wholeTar(chunks, url, ended), signal);
        // One that nobody reads never comes to where it ends the response.
        return stream.once('close', () => chunks.destroy());
      }),

    remove: (name, signal) =>
      call(signal, async ({ docker }) => {
        try {
          await docker.getImage(name).remove({ abortSignal: limited(signal) });
        } catch (error) {
          if (statusOf(error) === 409) return false;
          if (statusOf(error) !== 404) throw error;
        }
        return true;
      }),
  };
}

/** Everything is said: what is left out, dockerode takes from the environment. */
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

function addressFrom(find: EngineOptions['find']): EngineAddress {
  try {
    return find();
  } catch (error) {
    throw new ServiceError('engine-unreachable', 'The Docker engine of this service cannot be found.', {
      cause: error,
    });
  }
}

/** @see https://docs.docker.com/reference/api/engine/#versioned-api-and-sdk */
async function negotiate(options: Docker.DockerOptions): Promise<Omit<Connection, 'since'>> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
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
      store: `${info.Driver}${keepsPlatforms ? ' of containerd' : ''}`,
      keepsPlatforms,
    },
  };
}

const GET = { method: 'GET', statusCodes: { 200: true, 404: 'not found', 500: 'server error' } } as const;

/** For what dockerode has no method for, or one that passes neither query nor signal on. */
function dial(docker: Docker, request: DialOptions, abortSignal: AbortSignal): Promise<unknown> {
  return new Promise((resolve, reject) => {
    docker.modem.dial({ ...request, abortSignal }, (error: unknown, data: unknown) =>
      error ? reject(error) : resolve(data),
    );
  });
}

async function get(
  docker: Docker,
  path: string,
  query: Record<string, string>,
  signal: AbortSignal,
): Promise<JsonObject> {
  const data = await dial(docker, { ...GET, path: `${path}?`, options: query }, limited(signal));
  if (isJsonObject(data)) return data;
  throw new Error(`${path} is answered with something that is no JSON object`);
}

function readImage(inspected: JsonObject): EngineImage {
  const { Id, Size, Os, Architecture, Variant, RepoDigests, Created, Config } = inspected;
  if (typeof Id !== 'string') throw new Error('An image is described without its ID');
  return {
    id: Id,
    listedId: Id,
    chosen: undefined,
    size: typeof Size === 'number' ? Size : 0,
    platform: {
      // The containerd store has indexes none of whose platforms was pulled.
      os: typeof Os === 'string' && Os !== '' ? Os : 'unknown',
      architecture: typeof Architecture === 'string' && Architecture !== '' ? Architecture : 'unknown',
      ...(typeof Variant === 'string' && { variant: Variant }),
    },
    repoDigests: Array.isArray(RepoDigests) ? RepoDigests.filter((text) => typeof text === 'string') : [],
    created: parseTimestamp(Created),
    config: summariseConfig(Config),
  };
}

function noneIfMissing(error: unknown): undefined {
  if (statusOf(error) !== 404) throw error;
}

/** One without a name is listed as <none>:<none>, as nothing, or as null. */
function tagsIn(listed: readonly string[] | null | undefined): readonly string[] {
  return (listed ?? []).filter((name) => !name.startsWith('<none>')).map(fullName);
}

/** @see https://docs.docker.com/reference/api/engine/#authentication */
function registryAuth(credentials: Credentials | undefined, { domain }: Reference): object | undefined {
  const serveraddress = domain === 'docker.io' ? 'https://index.docker.io/v1/' : domain;
  switch (credentials?.kind) {
    case 'password':
      return { username: credentials.username, password: credentials.password, serveraddress };
    case 'identity-token':
      return { identitytoken: credentials.token, serveraddress };
    case 'registry-token':
      return { registrytoken: credentials.token, serveraddress };
    default:
      return undefined;
  }
}

function ociPlatform({ os, architecture, variant }: Platform): object {
  return { os, architecture, ...(variant !== undefined && { variant }) };
}

function limited(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
}

/** Compares versions of the API, such as 1.9 and 1.41. */
function isAtLeast(version: string, wanted: string): boolean {
  const [[major = 0, minor = 0], [wantedMajor = 0, wantedMinor = 0]] = [version, wanted].map((text) =>
    text.split('.').map(Number),
  ) as [number[], number[]];
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

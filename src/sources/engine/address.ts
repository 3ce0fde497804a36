import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../oci/json.ts';

/** The address of a Docker engine, and the protocol to use. */
export type EngineAddress = UnixAddress | TcpAddress;

interface UnixAddress {
  readonly kind: 'unix';
  /** As the operator would write it: `unix:///var/run/docker.sock`. */
  readonly url: string;
  readonly socketPath: string;
}

interface TcpAddress {
  readonly kind: 'tcp';
  /** As the operator would write it: `tcp://engine.lan:2376`. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Undefined: plain HTTP. */
  readonly tls: EngineTls | undefined;
}

/** PEM. An undefined authority means those of the system; an undefined client certificate is not sent. */
export interface EngineTls {
  readonly ca: Buffer | undefined;
  readonly cert: Buffer | undefined;
  readonly key: Buffer | undefined;
  /** False: the engine's certificate is not verified. */
  readonly verify: boolean;
}

export interface AddressSources {
  /** The environment variables, of which those of Docker's client apply. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** The folder of Docker's config.json, with its contexts. */
  readonly configFolder: string;
  /** Returns undefined if the file does not exist. */
  readonly readFile: (path: string) => Buffer | undefined;
}

const DEFAULT_URL = 'unix:///var/run/docker.sock';
const PORT = 2375;
const TLS_PORT = 2376;

/**
 * Finds the engine as Docker's own client does: DOCKER_HOST, else the context of DOCKER_CONTEXT, else the current one of
 * config.json, else the usual socket.
 *
 * @throws Error with a sentence that names the unusable setting
 * @see https://docs.docker.com/reference/cli/docker/#environment-variables
 * @see https://docs.docker.com/engine/manage-resources/contexts/
 */
export function findEngine({ variables, configFolder, readFile }: AddressSources): EngineAddress {
  const { DOCKER_HOST: host, DOCKER_CERT_PATH: certFolder = configFolder } = variables;
  if (host) {
    // Docker's client takes any value for true, also 0.
    const verify = Boolean(variables.DOCKER_TLS_VERIFY);
    // A folder of certificates without DOCKER_TLS_VERIFY also enables TLS, but without verification of the engine.
    const wantsTls = verify || Boolean(variables.DOCKER_CERT_PATH);
    const read = (name: string): Buffer | undefined => readFile(join(certFolder, name));
    return parseAddress(host, 'DOCKER_HOST', wantsTls ? { ...certificates(read), verify } : undefined);
  }
  const name = variables.DOCKER_CONTEXT || currentContext(configFolder, readFile);
  if (name === undefined || name === 'default') return parseAddress(DEFAULT_URL, 'the default', undefined);
  return contextAddress(name, configFolder, readFile);
}

function currentContext(folder: string, readFile: AddressSources['readFile']): string | undefined {
  const content = readFile(join(folder, 'config.json'));
  const name = content && parseJsonObject(content)?.currentContext;
  return typeof name === 'string' && name !== '' ? name : undefined;
}

/** Contexts lie under the hash of their name: contexts/meta/<sha256>/meta.json and contexts/tls/<sha256>/docker/*.pem. */
function contextAddress(name: string, folder: string, readFile: AddressSources['readFile']): EngineAddress {
  const id = createHash('sha256').update(name).digest('hex');
  const where = `the Docker context ${JSON.stringify(name)}`;
  const content = readFile(join(folder, 'contexts', 'meta', id, 'meta.json'));
  if (content === undefined) throw new Error(`Cannot find ${where}.`);
  const endpoint = member(member(parseJsonObject(content), 'Endpoints'), 'docker');
  const host = endpoint?.Host;
  if (typeof host !== 'string') throw new Error(`${where} names no engine.`);
  const files = certificates((file) => readFile(join(folder, 'contexts', 'tls', id, 'docker', file)));
  const verify = endpoint?.SkipTLSVerify !== true;
  const wantsTls = !verify || Object.values(files).some((file) => file !== undefined);
  return parseAddress(host, where, wantsTls ? { ...files, verify } : undefined);
}

function member(object: JsonObject | undefined, name: string): JsonObject | undefined {
  const value = object?.[name];
  return isJsonObject(value) ? value : undefined;
}

function certificates(read: (name: string) => Buffer | undefined): Omit<EngineTls, 'verify'> {
  const [ca, cert, key] = ['ca.pem', 'cert.pem', 'key.pem'].map(read);
  return { ca, cert, key };
}

function parseAddress(text: string, where: string, tls: EngineTls | undefined): EngineAddress {
  const unix = /^unix:\/\/(\/.+)$/.exec(text);
  if (unix) return { kind: 'unix', url: text, socketPath: unix[1] ?? '' };
  // Docker's client also takes a host without a scheme.
  const url = URL.parse(
    /^[a-z]+:\/\//.test(text) ? text.replace(/^(?:tcp|https?):/, 'http:') : `http://${text}`,
  );
  if (url?.protocol !== 'http:' || url.hostname === '' || !/^\/?$/.test(url.pathname)) {
    throw new Error(
      `${where} is ${JSON.stringify(text)}: write it as unix:///path/to.sock or tcp://host:port.`,
    );
  }
  const encrypted =
    tls ?? (text.startsWith('https:') ? { ...certificates(() => undefined), verify: true } : undefined);
  // The URL parser drops port 80, because it is the default.
  const stated = /:(\d+)\/?$/.exec(text)?.[1];
  const port = stated === undefined ? (encrypted ? TLS_PORT : PORT) : Number(stated);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return { kind: 'tcp', url: `tcp://${url.hostname}:${port}`, host, port, tls: encrypted };
}

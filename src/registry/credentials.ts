import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../oci/json.ts';

/** The credentials for a registry. */
export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token, which the token server takes by POST. */
  | { readonly kind: 'identity-token'; readonly token: string }
  /** A bearer token for the registry itself. */
  | { readonly kind: 'registry-token'; readonly token: string };

export interface CredentialStore {
  /**
   * Finds the credentials for exactly this registry; undefined if absent.
   *
   * @throws ServiceError `internal-error` if the store cannot be read
   */
  find(domain: string): Promise<Credentials | undefined>;
}

const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';
const HELPER_TIMEOUT_MS = 20_000;

/**
 * Reads credentials as the Docker CLI keeps them: `config.json` in a folder, with `auths`, `credHelpers` and
 * `credsStore`. It is read again each time, so that `docker login` needs no restart.
 *
 * @see https://docs.docker.com/reference/cli/docker/login/#credential-stores
 */
export function createDockerConfigCredentials(folder: string): CredentialStore {
  const file = join(folder, 'config.json');
  return {
    async find(domain) {
      const config = await readConfig(file);
      const key = domain === 'docker.io' ? DOCKER_HUB_KEY : domain;
      const helper = helperFor(config, key, domain);
      if (helper !== undefined) {
        const found = await askHelper(helper, key);
        if (found !== undefined) return found;
      }
      return isJsonObject(config.auths) ? fromAuths(config.auths, key) : undefined;
    },
  };
}

async function readConfig(file: string): Promise<JsonObject> {
  try {
    const config = parseJsonObject(await readFile(file));
    if (config !== undefined) return config;
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return {};
    throw unreadable(`${file} cannot be read`, cause);
  }
  throw unreadable(`${file} is not a JSON object`);
}

function helperFor(config: JsonObject, key: string, domain: string): string | undefined {
  const helpers = isJsonObject(config.credHelpers) ? config.credHelpers : {};
  const owner = [key, domain].find((candidate) => Object.hasOwn(helpers, candidate));
  const name = owner === undefined ? config.credsStore : helpers[owner];
  if (name === undefined || name === '') return undefined;
  if (typeof name !== 'string' || !/^[\w.-]+$/.test(name)) {
    throw unreadable('the name of a credential helper is not valid');
  }
  return name;
}

/** @see https://github.com/docker/docker-credential-helpers#development */
async function askHelper(name: string, key: string): Promise<Credentials | undefined> {
  const program = `docker-credential-${name}`;
  const { spawn } = await import('node:child_process');
  const signal = AbortSignal.timeout(HELPER_TIMEOUT_MS);
  const helper = spawn(program, ['get'], { stdio: ['pipe', 'pipe', 'ignore'], signal });
  const exit = new Promise<number | null>((resolve, reject) =>
    helper.once('error', reject).once('close', resolve),
  );
  helper.stdin.on('error', () => {}); // A helper may exit without reading; its exit code tells.
  helper.stdin.end(key);
  try {
    const [output, code] = await Promise.all([text(helper.stdout), exit]);
    if (code !== 0 && /credentials not found/i.test(output)) return undefined;
    const answer = code === 0 ? parseJsonObject(Buffer.from(output)) : undefined;
    if (typeof answer?.Username === 'string' && typeof answer.Secret === 'string') {
      if (answer.Username === '<token>') return { kind: 'identity-token', token: answer.Secret };
      return { kind: 'password', username: answer.Username, password: answer.Secret };
    }
  } catch (cause) {
    throw unreadable(`${program} cannot be run`, cause);
  }
  throw unreadable(`${program} failed`);
}

function fromAuths(auths: JsonObject, key: string): Credentials | undefined {
  const isSameHost = (candidate: string): boolean => hostOf(candidate) === hostOf(key);
  const match = Object.hasOwn(auths, key) ? key : Object.keys(auths).find(isSameHost);
  const entry = match === undefined ? undefined : auths[match];
  if (!isJsonObject(entry)) return undefined;
  const { auth, identitytoken, registrytoken, username, password } = entry;
  if (typeof identitytoken === 'string' && identitytoken !== '')
    return { kind: 'identity-token', token: identitytoken };
  if (typeof registrytoken === 'string' && registrytoken !== '')
    return { kind: 'registry-token', token: registrytoken };
  if (typeof auth === 'string' && auth !== '') {
    const [, name, secret] = /^([^:]*):(.*)$/s.exec(Buffer.from(auth, 'base64').toString()) ?? [];
    // The CLI pads passwords with NUL.
    if (name !== undefined && secret !== undefined) {
      return { kind: 'password', username: name, password: secret.replace(/\0+$/, '') };
    }
  }
  if (typeof username === 'string' && typeof password === 'string')
    return { kind: 'password', username, password };
  return undefined;
}

/** Keys are written as a host, a host with a port, or an old URL such as https://index.docker.io/v1/. */
function hostOf(key: string): string {
  return key.replace(/^https?:\/\//, '').split('/', 1)[0] ?? '';
}

function unreadable(why: string, cause?: unknown): ServiceError {
  return new ServiceError('internal-error', detail('configured-credentials-unreadable', {}), {
    cause: cause ?? new Error(why),
  });
}

import { detail } from '../errors/details.ts';
import { quote, ServiceError } from '../errors.ts';
import { readBody } from '../net/body.ts';
import type { HttpClient, HttpRequest, HttpResponse } from '../net/http.ts';
import { parseJsonObject } from '../oci/json.ts';
import type { Reference, Repository } from '../oci/reference.ts';
import { createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';
import { type Challenge, parseChallenges, preferredChallenge } from './challenge.ts';
import type { CredentialStore, Credentials } from './credentials.ts';
import { credentialsRefused, missingOrPrivate, statusError } from './status-error.ts';

/** Provides the Authorization headers for a registry. */
export interface Authorizer {
  /** Returns the header for the next request; undefined if the registry has not required one. */
  authorization(repository: Repository): Promise<string | undefined>;
  /**
   * Answers a 401 of the registry itself. Returns the header for one more try, or undefined without a better one than
   * `sent`. The 401 of another origin, behind a redirect, must not be passed here.
   *
   * @param origin the registry's origin, which the guard uses to check the named token server
   * @throws ServiceError from the response of the token server
   */
  challenged(
    repository: Repository,
    origin: string,
    wwwAuthenticate: string | undefined,
    sent: string | undefined,
  ): Promise<string | undefined>;
  /**
   * Creates the error for a final 401: refused credentials, or a private repository.
   *
   * @param body the body of the 401
   */
  refusal(repository: Repository, body: Uint8Array): Promise<ServiceError>;
}

/** Knows the Authorization headers for a registry and for other registries that it redirects to. */
export interface RegistryAuthorizer extends Authorizer {
  /**
   * Returns the authorizer for a registry behind a redirect. Its tokens are separate from those of direct requests.
   *
   * @param origin the registry behind the redirect
   */
  redirected(target: Reference, origin: string): Authorizer;
}

export interface AuthorizerOptions {
  readonly http: HttpClient;
  readonly credentials: CredentialStore;
  /**
   * Tells whether requests may use the registry's credentials for a repository that another registry redirects to.
   * Without this check, any registry could open private repositories of another one. If absent, such requests are
   * anonymous.
   */
  readonly mayUseCredentials?: (target: Reference, origin: string) => boolean;
  /** Creates the error for credentials that are not accepted. The default blames the operator's credentials. */
  readonly refused?: RefusedError;
  /** A monotonic clock, in milliseconds. */
  readonly now: () => number;
  /** Milliseconds in which a token must be received completely; 60,000 if absent. */
  readonly timeout?: number;
  /** The list of in-memory caches. */
  readonly caches?: MemoryCaches;
}

/** @param body the body of the response, with the reason of the registry */
export type RefusedError = (repository: Repository, found: Credentials, body: Uint8Array) => ServiceError;

/** The last challenge of a registry. */
interface KnownChallenge extends Challenge {
  /** The registry's. */
  readonly origin: string;
  /** The repository of the challenge, by {@link keyOf}. Challenges for other repositories can differ. */
  readonly key: string;
}

interface Token {
  readonly header: string;
  /** The time at which it expires, on the clock of `now`. */
  readonly expires: number;
}

const TOKEN_BODY_LIMIT = 64 * 1024;
const TOKEN_REQUEST_TIMEOUT_MS = 60_000;
/** https://distribution.github.io/distribution/spec/auth/token/: the default lifetime of a token, in seconds. */
const DEFAULT_LIFETIME_S = 60;
/** Maximum characters of a token. Most servers refuse longer headers. */
const TOKEN_MAX = 16 * 1024;
/** Maximum bytes of the tokens (about 500 repositories) and of the challenges (about 1,000 registries). */
const TOKENS_LIMIT = 2 * 1024 * 1024;
const CHALLENGES_LIMIT = 512 * 1024;

const NO_CREDENTIALS: CredentialStore = { find: async () => undefined };

/**
 * Keeps challenges by registry and tokens by repository. Concurrent requests share one token request, and tokens are
 * renewed before they expire in the middle of an image.
 */
export function createAuthorizer({
  mayUseCredentials = () => false,
  ...options
}: AuthorizerOptions): RegistryAuthorizer {
  const [withCredentials, anonymous] = [
    createKeeper(options),
    createKeeper({ ...options, credentials: NO_CREDENTIALS }),
  ];
  return {
    ...createKeeper(options),
    redirected: (target, origin) => (mayUseCredentials(target, origin) ? withCredentials : anonymous),
  };
}

function createKeeper({
  http,
  credentials,
  refused = (repository) => credentialsRefused(repository),
  now,
  timeout = TOKEN_REQUEST_TIMEOUT_MS,
  caches = createMemoryCaches(now),
}: Omit<AuthorizerOptions, 'mayUseCredentials'>): Authorizer {
  const challenges = caches.open<KnownChallenge>({ name: 'registry-challenges', limit: CHALLENGES_LIMIT });
  const tokens = caches.open<Token>({ name: 'registry-tokens', limit: TOKENS_LIMIT });
  const pending = new Map<string, Promise<Token>>();

  const answer = async (repository: Repository, challenge: KnownChallenge): Promise<string | undefined> => {
    const found = await credentials.find(repository.domain);
    if (found?.kind === 'registry-token') return `Bearer ${found.token}`;
    if (challenge.scheme === 'basic') return found?.kind === 'password' ? basic(found) : undefined;
    return (await sharedToken(repository, challenge, found)).header;
  };

  const sharedToken = async (
    repository: Repository,
    challenge: KnownChallenge,
    found: Credentials | undefined,
  ): Promise<Token> => {
    const key = keyOf(repository);
    const known = tokens.get(key);
    if (known !== undefined && known.expires > now()) return known;
    return pending.get(key) ?? renewToken(key, fetchToken(repository, challenge, found));
  };

  const renewToken = (key: string, fetched: Promise<Token>): Promise<Token> => {
    const token = fetched
      .then((fresh) => {
        tokens.set(key, fresh);
        return fresh;
      })
      .finally(() => pending.delete(key));
    pending.set(key, token);
    return token;
  };

  const fetchToken = async (
    repository: Repository,
    challenge: KnownChallenge,
    found: Credentials | undefined,
  ): Promise<Token> => {
    const asked = now();
    const realm = realmOf(challenge, repository.domain);
    const service = challenge.parameters.get('service');
    const query = { ...(service !== undefined && { service }), scope: `repository:${repository.path}:pull` };
    // Not a client's signal: others wait for the same token.
    const signal = AbortSignal.timeout(timeout);
    const [url, request] = tokenRequest(realm, query, found);
    const chosenBy = challenge.origin;
    const response = await http.request(url, { ...request, chosenBy }, signal).catch((error: unknown) => {
      throw tokenServerError(error, realm, repository.domain);
    });
    const deny = (body: Uint8Array): ServiceError =>
      found === undefined ? missingOrPrivate(repository) : refused(repository, found, body);
    return readToken(response, repository, found !== undefined, deny, asked);
  };

  /** Drops a token, unless a newer one has replaced it. */
  const forget = (repository: Repository, header: string | undefined): void => {
    const key = keyOf(repository);
    if (tokens.get(key)?.header === header) tokens.delete(key);
  };

  return {
    async authorization(repository) {
      const challenge = challenges.get(repository.domain);
      if (challenge === undefined) return undefined;
      try {
        return await answer(repository, challenge);
      } catch (error) {
        if (challenge.key === keyOf(repository) || !leadsNowhere(error)) throw error;
        // A challenge for another repository is useless here: the registry must send one for this repository.
        if (challenges.get(repository.domain) === challenge) challenges.delete(repository.domain);
        return undefined;
      }
    },

    async challenged(repository, origin, wwwAuthenticate, sent) {
      const challenge = preferredChallenge(parseChallenges(wwwAuthenticate ?? ''));
      if (challenge === undefined) return undefined;
      const known = { ...challenge, origin, key: keyOf(repository) };
      challenges.set(repository.domain, known);
      forget(repository, sent);
      const header = await answer(repository, known);
      return header === sent ? undefined : header;
    },

    async refusal(repository, body) {
      const found = await credentials.find(repository.domain);
      const isBasic = challenges.get(repository.domain)?.scheme === 'basic';
      // A token shows that its server accepted the credentials. Other credentials are sent to the registry directly.
      const wereSent = found?.kind === 'registry-token' || (found?.kind === 'password' && isBasic);
      return found !== undefined && wereSent
        ? refused(repository, found, body)
        : missingOrPrivate(repository);
    },
  };
}

/** The GET of the token specification or, with a refresh token, the POST of its OAuth2 flavour. */
function tokenRequest(
  realm: URL,
  query: Record<string, string>,
  found: Credentials | undefined,
): [URL, HttpRequest] {
  if (found?.kind === 'identity-token') {
    const form = {
      ...query,
      grant_type: 'refresh_token',
      refresh_token: found.token,
      client_id: 'dockerproxy',
    };
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    return [realm, { method: 'POST', headers, body: new URLSearchParams(form).toString() }];
  }
  const url = new URL(realm);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return [url, { headers: found?.kind === 'password' ? { authorization: basic(found) } : {} }];
}

async function readToken(
  response: HttpResponse,
  repository: Repository,
  withCredentials: boolean,
  deny: (body: Uint8Array) => ServiceError,
  asked: number,
): Promise<Token> {
  const bytes = await readBody(response, TOKEN_BODY_LIMIT);
  if (response.status === 401 || response.status === 403 || (response.status === 400 && withCredentials)) {
    throw deny(bytes);
  }
  if (response.status !== 200) throw statusError(response);
  const body = parseJsonObject(bytes);
  const token = [body?.token, body?.access_token].find(isToken);
  if (token === undefined) {
    throw new ServiceError('registry-failed', detail('token-missing', { host: repository.domain }), {
      isFinal: true,
    });
  }
  const stated = body?.expires_in;
  const lifetime = typeof stated === 'number' && stated > 0 ? stated : DEFAULT_LIFETIME_S;
  // Tokens are renewed a little early, and their age counts from the request, to allow for slow networks.
  return { header: `Bearer ${token}`, expires: asked + lifetime * 900 };
}

function isToken(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TOKEN_MAX && /^[\x21-\x7e]+$/.test(value);
}

function realmOf(challenge: Challenge, domain: string): URL {
  const realm = challenge.parameters.get('realm') ?? '';
  if (!URL.canParse(realm)) {
    throw new ServiceError('registry-failed', detail('token-url-invalid', { host: quote(domain) }), {
      isFinal: true,
    });
  }
  return new URL(realm);
}

/** Names the token server that the guard refuses, because the address of the registry itself may be allowed. */
function tokenServerError(cause: unknown, { protocol, host }: URL, domain: string): unknown {
  if (!(cause instanceof ServiceError) || cause.code !== 'address-refused') return cause;
  return new ServiceError(
    'address-refused',
    [
      detail('token-server-refused', { host: domain, url: quote(`${protocol}//${host}`) }),
      ...cause.sentences,
    ],
    { reason: `The token server of ${domain} is refused`, cause },
  );
}

function basic({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function keyOf({ domain, path }: Repository): string {
  return `${domain}/${path}`;
}

/** Tells whether a token server cannot be the right one, rather than refusing the credentials. */
function leadsNowhere(error: unknown): boolean {
  if (!(error instanceof ServiceError)) return false;
  return ['address-refused', 'registry-failed', 'registry-timeout'].includes(error.code);
}

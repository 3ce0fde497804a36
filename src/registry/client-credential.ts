import { createHmac } from 'node:crypto';
import { parseReference, type Reference } from '../oci/reference.ts';
import type { CredentialStore, Credentials } from './credentials.ts';

/** A user name and a password as a client sends them, before their registry is known. */
export interface PresentedCredential {
  /** The registry that the user name states, as in `ghcr.io/alice`; undefined for the registry of the image. */
  readonly registry: string | undefined;
  readonly username: string;
  /** A function, so that no log or error that serializes the object shows the password. */
  password(): string;
}

/** The credentials of a client for one registry. */
export interface ClientCredential {
  readonly registry: string;
  /** A keyed hash, by which this process separates what different credentials may read. */
  readonly key: string;
  /** Reads the credentials. A function, so that nothing that serializes the object shows them. */
  reveal(): Extract<Credentials, { kind: 'password' }>;
}

const BASIC = /^basic +([\w+/=-]+)$/i;
/** The registry has a dot, a port, or is localhost, as in a reference. A port brings a colon before the user name. */
const REGISTRY_USER = /^(localhost|[^/:]*\.[^/:]*|\[[0-9a-f:]+\]|[^/:]+(?=:\d))(:\d{1,5})?\/([^:]*):(.*)$/is;

/**
 * Reads an Authorization header of the Basic scheme; undefined for anything else.
 *
 * @see https://www.rfc-editor.org/rfc/rfc7617
 */
function parseBasic(header: string): PresentedCredential | undefined {
  const [, encoded] = BASIC.exec(header) ?? [];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString();
  const colon = text.indexOf(':');
  // Control characters are invalid, and a header must not carry them to a registry.
  if (colon === -1 || /\p{Cc}/u.test(text)) return undefined;
  return presented(text.slice(0, colon), text.slice(colon + 1));
}

/** The token of clients without credentials. */
const ANONYMOUS = 'anonymous';
const TOKEN_SCHEME = 'basic.';

/** Writes credentials, or their absence, as a token of the registry API. */
export function writeToken(credential: PresentedCredential | undefined): string {
  if (credential === undefined) return ANONYMOUS;
  const { registry, username, password } = credential;
  const name = registry === undefined ? username : `${registry}/${username}`;
  return `${TOKEN_SCHEME}${Buffer.from(`${name}:${password()}`).toString('base64')}`;
}

/**
 * Reads an Authorization header: of the Basic scheme, or with a token by {@link writeToken}.
 *
 * @returns undefined for the token of a client without credentials; `invalid` for any other header
 */
export function parseAuthorization(header: string): PresentedCredential | 'invalid' | undefined {
  const [, token] = /^bearer +(\S+)$/i.exec(header) ?? [];
  if (token === ANONYMOUS) return undefined;
  const basic = token?.startsWith(TOKEN_SCHEME) ? `Basic ${token.slice(TOKEN_SCHEME.length)}` : header;
  return parseBasic(basic) ?? 'invalid';
}

/** Creates credentials from a user name, which can start with a registry, and a password. */
export function presented(name: string, secret: string): PresentedCredential {
  const [, host, port = '', username, password] = REGISTRY_USER.exec(`${name}:${secret}`) ?? [];
  const registry = host === undefined ? undefined : registryNamed(`${host}${port}`);
  if (registry === undefined || username === undefined || password === undefined)
    return { registry: undefined, username: name, password: () => secret };
  return { registry, username, password: () => password };
}

/** Binds credentials to the registry to which alone they are sent. @param key a random key of this process */
export function bindCredential(
  { username, password }: PresentedCredential,
  registry: string,
  key: Uint8Array,
): ClientCredential {
  const hash = createHmac('sha256', key).update(JSON.stringify([registry, username, password()]));
  return {
    registry,
    key: hash.digest('base64url'),
    reveal: () => ({ kind: 'password', username, password: password() }),
  };
}

/** The registries that credentials may be for: those of the images, each once. */
export function registriesOf(references: readonly Pick<Reference, 'domain'>[]): readonly string[] {
  return [...new Set(references.map(({ domain }) => domain))];
}

/** The credentials of the requests that are in progress, and only for as long as they are. */
export interface BorrowedCredential extends CredentialStore {
  /** Holds the credentials until the signal of a request aborts. */
  borrow(credential: ClientCredential, signal: AbortSignal): void;
}

/**
 * Keeps the credentials of one client while a request uses them.
 *
 * @param others finds the credentials of the operator for all other registries
 */
export function createBorrowedCredential(registry: string, others: CredentialStore): BorrowedCredential {
  const held = new Set<ClientCredential>();
  return {
    borrow(credential, signal) {
      if (signal.aborted) return;
      const own = { ...credential };
      held.add(own);
      signal.addEventListener('abort', () => held.delete(own), { once: true });
    },
    async find(domain) {
      if (domain !== registry) return others.find(domain);
      const [credential] = held;
      return credential?.reveal();
    },
  };
}

function registryNamed(host: string): string | undefined {
  try {
    return parseReference(`${host.toLowerCase()}/image`).domain;
  } catch {
    return undefined;
  }
}

import { randomBytes } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type Detail, detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { Limits } from '../../limits/limits.ts';
import type { ReportLogin } from '../../limits/login-brake.ts';
import type { Reference } from '../../oci/reference.ts';
import {
  bindCredential,
  type ClientCredential,
  type PresentedCredential,
  parseAuthorization,
  registriesOf,
  writeToken,
} from '../../registry/client-credential.ts';
import { HiddenImageError } from '../../registry/status-error.ts';
import { isLoopbackAddress, parseIpAddress } from '../../util/ip-address.ts';
import { askedProtocol } from '../protocol/asked-origin.ts';
import { clientAddress } from '../protocol/client-address.ts';
import { clientOf } from './limits.ts';

/** The credentials that one request brings. */
export interface RequestCredentials {
  /** True if the response is for this client alone. */
  readonly isPrivate: boolean;
  /** True if a response may ask for credentials, because the request says nothing about them. */
  readonly mayAsk: boolean;
  /** Writes the credentials as a token. @throws ServiceError as {@link RequestCredentials.forImages} does */
  token(): string;
  /** Takes credentials from elsewhere than the Authorization header. */
  present(credential: PresentedCredential | undefined): void;
  /**
   * Returns the credentials for images; undefined if the request does not bring any.
   *
   * @param home the registry of a user name that states none; that of the images if undefined
   * @throws ServiceError `credentials-invalid`, `credentials-unavailable` or `too-many-failed-logins`
   */
  forImages(
    references: readonly Pick<Reference, 'domain'>[],
    home?: string,
  ): Promise<ClientCredential | undefined>;
  /** Reports that the images are open, because a long response would show it only at its end. */
  opened(): void;
  /** Returns the error to answer with, which says how to send credentials, or that they failed. Counts failures. */
  explain(error: ServiceError): Promise<ServiceError>;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Undefined only before the first hook. */
    credentials: RequestCredentials | undefined;
  }
}

export interface CredentialsOptions {
  /** False if the header is ignored. */
  readonly isOn: boolean;
  /** False if images come from an engine, which has credentials of its own. */
  readonly isSupported: boolean;
  readonly limits: Pick<Limits, 'rates' | 'logins'>;
}

/** The requests that a failed one counts as, in addition to itself. */
const PENALTY = 9;
const PRIVATE = 'private, no-store';

/**
 * Reads the credentials of requests, and removes them from the request at once, so that nothing else can log or forward
 * them. Call it on the root instance before all other hooks.
 */
export function acceptCredentials(app: FastifyInstance, options: CredentialsOptions): void {
  const key = randomBytes(32);
  app.decorateRequest('credentials', undefined);
  app.addHook('onRequest', (request, reply, done) => {
    request.credentials = credentialsOf(request, reply, takeHeader(request), key, options);
    done();
  });
  app.addHook('onSend', (request, reply, _payload, done) => {
    reply.headers(privateHeaders(request));
    done();
  });
}

/** Returns the credentials that a request brings for images, as {@link RequestCredentials.forImages} does. */
export async function credentialFor(
  { credentials }: Pick<FastifyRequest, 'credentials'>,
  ...images: Parameters<RequestCredentials['forImages']>
): Promise<ClientCredential | undefined> {
  return credentials?.forImages(...images);
}

/** The headers that a response for one client alone must have. */
export function privateHeaders({ credentials }: FastifyRequest): Record<string, string> {
  return credentials?.isPrivate ? { 'cache-control': PRIVATE } : {};
}

/** Returns the Authorization header; `several` if the request has more than one. */
function takeHeader({ raw }: FastifyRequest): string | undefined {
  const { headers, rawHeaders } = raw;
  const header = headers.authorization;
  if (header === undefined) return undefined;
  const names = rawHeaders.flatMap((name, at) =>
    at % 2 === 0 && name.toLowerCase() === 'authorization' ? [at] : [],
  );
  // Node.js counts on the number of entries.
  for (const at of names) rawHeaders[at + 1] = '';
  delete headers.authorization;
  return names.length > 1 ? 'several' : header;
}

function credentialsOf(
  request: FastifyRequest,
  reply: FastifyReply,
  header: string | undefined,
  key: Uint8Array,
  { isOn, isSupported, limits }: CredentialsOptions,
): RequestCredentials {
  let presented = header === undefined ? undefined : parseAuthorization(header);
  let used: { readonly registry: string; readonly report: ReportLogin } | undefined;
  let isPrivate = false;
  let isRevealed = false;
  // An image that opens without the credentials proves nothing about them.
  const opened = (): void => used?.report(isRevealed ? 'accepted' : 'unknown');
  const isSafe = (): boolean => askedProtocol(request) === 'https' || isLocal(request);
  const canAccept = (): boolean => isOn && isSupported && isSafe();
  const usable = (): PresentedCredential | undefined => {
    if (!isOn || presented === undefined) return undefined;
    // From here on, even an error may say what only this client should read.
    isPrivate = true;
    if (presented === 'invalid') throw invalid(detail('authorization-scheme', {}));
    if (!isSupported) throw unavailable(detail('credentials-engine', {}));
    if (!isSafe()) throw unavailable(detail('credentials-http', {}));
    return presented;
  };
  return {
    get isPrivate() {
      return isPrivate;
    },
    get mayAsk() {
      return header === undefined && canAccept();
    },
    token() {
      return writeToken(usable());
    },
    present(credential) {
      presented = credential;
    },
    async forImages(references, home) {
      const own = usable();
      if (own === undefined) return undefined;
      const stated = own.registry ?? home;
      const registries = registriesOf(references);
      const [registry = '', ...others] = stated === undefined ? registries : [stated];
      if (others.length > 0) throw ambiguous(registries);
      const credential = bindCredential(own, registry, key);
      if (used === undefined) {
        // The registry never sees credentials that come with images from elsewhere.
        const isAsked = registries.length === 0 || registries.includes(registry);
        const report = isAsked
          ? await limits.logins.admit(registry, clientOf(request), credential.key)
          : (): void => {};
        used = { registry, report };
        reply.raw.once('close', () => {
          const { headersSent, writableFinished, statusCode } = reply.raw;
          // A client that leaves before the outcome could otherwise guess without being counted.
          if (!headersSent) return;
          if (writableFinished && statusCode < 400) opened();
          else report('unknown');
        });
      }
      return {
        ...credential,
        reveal() {
          isRevealed = true;
          return credential.reveal();
        },
      };
    },
    opened,
    async explain(error) {
      const isHidden = error instanceof HiddenImageError;
      if (isHidden && presented === undefined && canAccept()) return required(error, request);
      // A registry that hides an image may well accept the credentials.
      used?.report(error.code === 'credentials-rejected' ? 'refused' : 'unknown');
      if (isHidden && used === undefined) return error;
      // Another registry may also hide an image, without regard to these credentials.
      if (isHidden && used?.registry !== registryOf(error)) return notSent(error, used?.registry ?? '');
      if (!isHidden && error.code !== 'credentials-rejected') return error;
      await limits.rates.requests?.count(clientOf(request), PENALTY);
      return isHidden ? notOpened(error) : withChallenge(error, request, '');
    },
  };
}

/** Headers that proxies add. Not all proxies add `X-Forwarded-For`. */
const PROXY_HEADERS = [
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-real-ip',
  'forwarded',
  'via',
];

/** Tells whether the connection is from this machine, and not from a proxy on it that forwards another client. */
function isLocal(request: FastifyRequest): boolean {
  const { headers, socket } = request;
  if (PROXY_HEADERS.some((name) => headers[name] !== undefined)) return false;
  return [clientAddress(request), socket.remoteAddress ?? ''].every((text) => {
    const address = parseIpAddress(text);
    return address !== undefined && isLoopbackAddress(address);
  });
}

/** A browser would ask for a password in a dialog that says nothing about registries. */
function isBrowser({ headers }: FastifyRequest): boolean {
  return headers['sec-fetch-mode'] !== undefined;
}

function required(error: HiddenImageError, request: FastifyRequest): ServiceError {
  const own = new ServiceError('credentials-required', error.sentences, {
    reason: 'Image missing or private; for a private one, use --user=NAME --ask-password',
    cause: error,
  });
  return withChallenge(own, request, registryOf(error));
}

function registryOf({ image }: HiddenImageError): string {
  const [registry = ''] = image.split('/');
  return registry;
}

function withChallenge(error: ServiceError, request: FastifyRequest, registry: string): ServiceError {
  if (isBrowser(request)) return error;
  const { code, sentences, reason, cause } = error;
  const challenge = `Basic realm="${registry}", charset="UTF-8"`;
  return new ServiceError(code, sentences, { reason, cause, headers: { 'www-authenticate': challenge } });
}

function notOpened(error: HiddenImageError): ServiceError {
  return new ServiceError('image-not-found', [...error.sentences, detail('credentials-without-access', {})], {
    reason: 'Image missing, or not open to these credentials',
    cause: error,
  });
}

function notSent(error: HiddenImageError, registry: string): ServiceError {
  const own = registryOf(error);
  return new ServiceError(
    'image-not-found',
    [
      ...error.sentences,
      detail('credentials-elsewhere', { host: registry, registry: own, example: `${own}/USER` }),
    ],
    { reason: `Image missing or private; for a private one, use the user name ${own}/USER`, cause: error },
  );
}

function invalid(message: Detail): ServiceError {
  return new ServiceError('credentials-invalid', message);
}

function ambiguous(registries: readonly string[]): ServiceError {
  const [first = ''] = registries;
  return invalid(detail('credentials-ambiguous', { example: `${first}/USER` }));
}

function unavailable(message: Detail): ServiceError {
  return new ServiceError('credentials-unavailable', message);
}

import { detail } from '../errors/details.ts';
import { type ErrorCode, quote, ServiceError } from '../errors.ts';
import type { HttpResponse } from '../net/http.ts';
import { isJsonObject, parseJsonObject } from '../oci/json.ts';
import type { Repository } from '../oci/reference.ts';
import { parseRetryAfter } from '../util/retry-after.ts';

/** Default Retry-After for the client, in seconds, if a rate-limiting upstream states none. */
const DEFAULT_RETRY_AFTER_S = 60;

/** Errors that a GET after a failed HEAD would get, too, at a higher cost. */
const VERDICTS: ReadonlySet<ErrorCode> = new Set([
  'registry-rate-limited',
  'registry-timeout',
  'address-refused',
  'credentials-rejected',
]);

/**
 * Tells whether a GET would fail like this HEAD. Many registries, and the storage that they redirect to, refuse only
 * HEAD.
 */
export function isVerdict(error: unknown): boolean {
  return !(error instanceof ServiceError) || VERDICTS.has(error.code);
}

/** Converts an unexpected status from a registry or token server into an error for the client. */
export function statusError(response: HttpResponse): ServiceError {
  const { host } = response.url;
  const pause = parseRetryAfter(response.header('retry-after'), Date.now());
  const isFinal = response.method === 'POST' || !isTransient(response.status);
  const retryAfter = pause === undefined ? DEFAULT_RETRY_AFTER_S : Math.max(Math.ceil(pause / 1000), 1);
  switch (response.status) {
    case 429:
      return new ServiceError('registry-rate-limited', detail('registry-limits', { host }), {
        reason: `${host} limits requests`,
        retryAfter,
        pause,
        isFinal,
      });
    case 503:
      return new ServiceError('registry-unavailable', detail('registry-down', { host }), {
        reason: `${host} is unavailable`,
        retryAfter,
        pause,
        isFinal,
      });
    case 504:
      return new ServiceError('registry-timeout', detail('registry-silent', { host }), {
        reason: `${host} did not respond in time`,
        isFinal,
      });
    default:
      return new ServiceError(
        isRefusal(response.status) ? 'registry-refused' : 'registry-failed',
        detail('registry-status', { host, status: response.status }),
        { reason: `${host} responded with status ${response.status}`, isFinal },
      );
  }
}

/** Thrown if a registry does not tell whether a repository is missing or private. Other credentials may open it. */
export class HiddenImageError extends ServiceError {
  readonly image: string;

  constructor(image: string, cause?: unknown) {
    super('image-not-found', detail('image-hidden', { image }), {
      reason: 'Image missing or private',
      cause,
    });
    this.image = image;
  }
}

/** Registries do not tell anonymous clients whether a repository is private or missing. */
export function missingOrPrivate({ domain, path }: Repository, cause?: unknown): ServiceError {
  return new HiddenImageError(`${domain}/${path}`, cause);
}

/** Thrown if a registry that answers for a repository does not have a manifest in it. */
export class UnknownManifestError extends ServiceError {
  constructor(image: string, cause?: unknown) {
    super('image-not-found', detail('image-unknown', { image }), { cause });
  }
}

/**
 * Thrown if a registry does not have a tag. The repository may also be missing, which only a list of its tags would
 * show.
 */
export class UnknownTagError extends UnknownManifestError {
  readonly repository: Repository;
  readonly tag: string;

  constructor(repository: Repository, tag: string, cause?: unknown) {
    super(`${repository.domain}/${repository.path}:${tag}`, cause);
    this.repository = repository;
    this.tag = tag;
  }
}

/** Creates the error for configured credentials that the registry does not accept. */
export function credentialsRefused({ domain }: Repository, cause?: unknown): ServiceError {
  return new ServiceError(
    'registry-credentials-refused',
    detail('configured-credentials-refused', { host: domain }),
    { cause },
  );
}

/** Maximum characters of a registry's own words. */
const REASON_MAX = 200;

/**
 * Creates the error for credentials of a client that the registry does not accept, with the registry's own reason.
 *
 * @param body the response of the registry or its token server, which is untrusted
 */
export function clientCredentialsRefused(
  { domain }: Pick<Repository, 'domain'>,
  { username, password }: { readonly username: string; readonly password: string },
  body: Uint8Array,
): ServiceError {
  const own = reasonIn(body);
  // A registry may repeat the sent credentials in its response.
  const encoded = Buffer.from(`${username}:${password}`).toString('base64');
  const isSecret = [password, encoded].some((secret) => secret !== '' && own.includes(secret));
  const reason = own === '' || isSecret ? [] : [detail('registry-reason', { text: quote(own, REASON_MAX) })];
  return new ServiceError(
    'credentials-rejected',
    [detail('credentials-refused', { host: domain }), ...reason],
    { reason: `${domain} does not accept these credentials` },
  );
}

/** Reads the reason from an error of a registry, a token server, or OAuth2; empty without one. */
function reasonIn(body: Uint8Array): string {
  const answer = parseJsonObject(body) ?? {};
  const [first] = Array.isArray(answer.errors) ? answer.errors : [];
  const texts = [
    isJsonObject(first) ? first.message : undefined,
    ...['details', 'message', 'error_description', 'error'].map((name) => answer[name]),
  ];
  return texts.find((text) => typeof text === 'string') ?? '';
}

/** Tells whether the same request may soon succeed. */
export function isTransient(status: number): boolean {
  if (status >= 500) return status !== 501 && status !== 505;
  return status === 408 || status === 425 || status === 429;
}

/** Tells whether the same request would get the same response again. */
function isRefusal(status: number): boolean {
  return status >= 400 && status < 500 && status !== 408 && status !== 425;
}

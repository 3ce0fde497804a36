import { CatalogueError, type ErrorCode } from '../errors.ts';
import type { HttpResponse } from '../net/http-client.ts';
import type { Repository } from '../oci/reference.ts';

const DEFAULT_RETRY_AFTER_S = 60;
const MAX_RETRY_AFTER_S = 24 * 60 * 60;

const OUTAGES: ReadonlySet<ErrorCode> = new Set([
  'registry-failed',
  'registry-timeout',
  'registry-unavailable',
  'registry-rate-limited',
]);

/** Tells whether a registry gives no answer at the moment, rather than a bad one. */
export function isOutage(error: unknown): error is CatalogueError {
  return error instanceof CatalogueError && OUTAGES.has(error.code);
}

/** What an unexpected status of a registry or a token server means for the client. */
export function statusError(response: HttpResponse): CatalogueError {
  const { host } = response.url;
  const retryAfter = retryAfterSeconds(response.header('retry-after'));
  switch (response.status) {
    case 429:
      return new CatalogueError('registry-rate-limited', `${host} limits how much this service may fetch.`, {
        reason: `${host} limits requests`,
        retryAfter,
      });
    case 503:
      return new CatalogueError('registry-unavailable', `${host} is unavailable at the moment.`, {
        reason: `${host} is unavailable`,
        retryAfter,
      });
    case 504:
      return new CatalogueError('registry-timeout', `${host} did not answer in time.`, {
        reason: `${host} did not answer in time`,
      });
    default:
      return new CatalogueError(
        isFinal(response.status) ? 'registry-refused' : 'registry-failed',
        `${host} answered with status ${response.status}.`,
        { reason: `${host} answered ${response.status}` },
      );
  }
}

/** Registries do not tell strangers whether a repository is private or not there at all. */
export function missingOrPrivate({ domain, path }: Repository, cause?: unknown): CatalogueError {
  return new CatalogueError('image-not-found', `The image ${domain}/${path} is missing or private.`, {
    reason: 'Image missing or private',
    cause,
  });
}

/** A registry does not have a tag. Its repository may be missing, too, which only its list of tags could tell. */
export class UnknownTagError extends CatalogueError {
  readonly repository: Repository;
  readonly tag: string;

  constructor(repository: Repository, tag: string, cause?: unknown) {
    const name = `${repository.domain}/${repository.path}`;
    super('image-not-found', `The image ${name}:${tag} does not exist.`, { cause });
    this.repository = repository;
    this.tag = tag;
  }
}

/** Credentials that were configured for a registry do not open it. */
export function credentialsRefused({ domain }: Repository, cause?: unknown): CatalogueError {
  return new CatalogueError(
    'registry-credentials-refused',
    `The credentials configured for ${domain} are refused.`,
    { cause },
  );
}

/** Whether the same request would be answered the same again. */
function isFinal(status: number): boolean {
  return status >= 400 && status < 500 && status !== 408 && status !== 425;
}

/** @see https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3 */
function retryAfterSeconds(value: string | undefined): number {
  if (value === undefined) return DEFAULT_RETRY_AFTER_S;
  const seconds = /^\d+$/.test(value) ? Number(value) : Math.ceil((Date.parse(value) - Date.now()) / 1000);
  return Number.isNaN(seconds) ? DEFAULT_RETRY_AFTER_S : Math.min(Math.max(seconds, 1), MAX_RETRY_AFTER_S);
}

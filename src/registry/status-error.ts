import { CatalogueError } from '../errors.ts';
import type { HttpResponse } from '../net/http-client.ts';
import type { Repository } from '../oci/reference.ts';

const DEFAULT_RETRY_AFTER_S = 60;

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
      return new CatalogueError('registry-failed', `${host} answered with status ${response.status}.`, {
        reason: `${host} answered ${response.status}`,
      });
  }
}

/** Registries do not tell strangers whether a repository is private or not there at all. */
export function missingOrPrivate({ domain, path }: Repository): CatalogueError {
  return new CatalogueError('image-not-found', `The image ${domain}/${path} is missing or private.`, {
    reason: 'Image missing or private',
  });
}

/** @see https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3 */
function retryAfterSeconds(value: string | undefined): number {
  if (value === undefined) return DEFAULT_RETRY_AFTER_S;
  if (/^\d{1,6}$/.test(value)) return Math.max(Number(value), 1);
  const date = Date.parse(value);
  return Number.isNaN(date) ? DEFAULT_RETRY_AFTER_S : Math.max(Math.ceil((date - Date.now()) / 1000), 1);
}

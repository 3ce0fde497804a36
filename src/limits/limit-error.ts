import type { Detail } from '../errors/details.ts';
import { type ErrorCode, ServiceError } from '../errors.ts';

/** A limit that refuses a request. */
export interface ExceededLimit {
  /** As in RateLimit-Policy. */
  readonly name: string;
  readonly limit: number;
  /** Milliseconds until the limit frees, or until a retry makes sense. */
  readonly freesIn: number;
}

/**
 * Creates the error of a limit, with RateLimit headers and members that identify the limit.
 *
 * @param reason for the reason phrase
 * @see https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-10
 */
export function limitError(
  code: ErrorCode,
  { name, limit, freesIn }: ExceededLimit,
  message: Detail,
  reason: string,
): ServiceError {
  const seconds = Math.max(Math.ceil(freesIn / 1000), 1);
  return new ServiceError(code, message, {
    reason,
    retryAfter: seconds,
    members: { 'violated-policies': [name], limit },
    headers: {
      ratelimit: `"${name}";r=0;t=${seconds}`,
      // The fields of the draft's first versions, which most clients know.
      'ratelimit-limit': `${limit}`,
      'ratelimit-remaining': '0',
      'ratelimit-reset': `${seconds}`,
    },
  });
}

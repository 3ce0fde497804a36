import { parseRetryAfter } from '../../util/retry-after.ts';

/** Milliseconds before the first poll without a Retry-After. Most authorities need less than a second. */
export const FIRST_POLL_MS = 250;
/** Milliseconds: the longest interval without a Retry-After, and the shortest with one. */
const POLL_MS = 1000;
/** The longest interval with a Retry-After, in milliseconds. */
const LONGEST_POLL_MS = 60_000;

/**
 * Computes the milliseconds until a challenge or an order is polled again. The Retry-After of the authority decides.
 * Without one, the interval doubles after each poll, up to a second.
 *
 * @param polls the number of polls so far
 * @param now milliseconds since the epoch
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-7.5.1
 */
export function pollDelay(polls: number, retryAfter: string | undefined, now: number): number {
  const asked = parseRetryAfter(retryAfter, now);
  if (asked === undefined) return Math.min(FIRST_POLL_MS * 2 ** polls, POLL_MS);
  return Math.min(Math.max(asked, POLL_MS), LONGEST_POLL_MS);
}

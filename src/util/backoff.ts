/** Milliseconds. */
export interface BackoffPauses {
  readonly first: number;
  /** Unlimited if absent. */
  readonly longest?: number;
}

/**
 * Returns the milliseconds to wait after a failure: twice as long after each failure in a row, with jitter.
 *
 * @param failures the number of failures in a row, from 1
 * @param random from 0 to 1
 */
export function backoff(
  { first, longest = Number.POSITIVE_INFINITY }: BackoffPauses,
  failures: number,
  random: number,
): number {
  return withJitter(Math.min(first * 2 ** (failures - 1), longest), random);
}

/**
 * Shortens a pause by a random share, so that clients that failed together don't retry together. The rest remains, so
 * that the server has time to recover.
 *
 * @param random from 0 to 1, which keeps the whole pause
 * @param share the largest share, from 0 to 1
 */
export function withJitter(pause: number, random: number, share = 0.5): number {
  return pause * (1 - share * (1 - random));
}

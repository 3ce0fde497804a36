import { backoff } from '../util/backoff.ts';

/** Milliseconds. Longer pauses would extend an outage: workers that an attack ends serve again soon after it. */
const PAUSES = { first: 500, longest: 5_000 };

/**
 * Returns the milliseconds until a worker is replaced that has ended. After a long life and after the first short one,
 * the next worker starts at once. Then the pauses grow, so that failing starts don't keep the machine busy.
 *
 * @param shortLives the number of short lives in a row
 * @param random from 0 to 1
 */
export function restartDelay(shortLives: number, random: number): number {
  return shortLives <= 1 ? 0 : backoff(PAUSES, shortLives - 1, random);
}

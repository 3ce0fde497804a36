/** Milliseconds before the second worker in a row that did not live long is replaced; each time twice as many. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Milliseconds until a worker that has ended is replaced: none after a long life and the first short one, then more and
 * more, so that what dies while it starts does not keep the machine busy with starting.
 *
 * @param shortLives in a row
 */
export function restartDelay(shortLives: number): number {
  if (shortLives <= 1) return 0;
  return Math.min(FIRST_PAUSE_MS * 2 ** (shortLives - 2), LONGEST_PAUSE_MS);
}

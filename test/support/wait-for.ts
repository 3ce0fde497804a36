import { setTimeout as pause } from 'node:timers/promises';

/** The real clock of the process, even while a test mocks timers. */
const realTime = performance.now.bind(performance);

/**
 * Polls until the condition returns a truthy value, which it returns. An error of the condition ends the wait. The
 * interval grows with the time that has passed, because a poll may cost a request or a TLS handshake.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { timeout = 30_000, what = 'the condition' }: { timeout?: number; what?: string } = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const start = realTime();
  for (;;) {
    const value = await condition();
    if (value) return value as NonNullable<Exclude<T, false>>;
    const elapsed = realTime() - start;
    if (elapsed > timeout) throw new Error(`waited ${timeout} ms for ${what}`);
    await pause(Math.min(Math.max(elapsed / 10, 10), 100));
  }
}

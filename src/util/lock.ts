import { setTimeout as pause } from 'node:timers/promises';

/** Locks that let one of several processes do work that each of them needs done. */
export interface Locks {
  /**
   * Acquires the lock until the returned object is disposed. Returns undefined if another owner has the lock. A lock
   * expires when its process dies.
   *
   * @throws Error if the store of locks fails
   */
  take(name: string): Promise<Disposable | undefined>;
  /**
   * Waits for the lock for at most five seconds. After that, or if the store of locks fails, every caller does the
   * work.
   *
   * @throws the reason of the signal if it aborts
   */
  wait(name: string, signal: AbortSignal): Promise<Disposable>;
}

/** Stands in for a lock if no other process can own it, or if the store of locks fails. */
export const NO_LOCK: Disposable = { [Symbol.dispose]() {} };

const TIMEOUT_MS = 5_000;
/** The first interval between two attempts. Each interval is half as long again as the previous one. */
const FIRST_POLL_MS = 20;
const LONGEST_POLL_MS = 250;

/** @param now a monotonic clock, in milliseconds */
export function createLocks(take: Locks['take'], now: () => number): Locks {
  return {
    take,
    async wait(name, signal) {
      const end = now() + TIMEOUT_MS;
      for (let poll = FIRST_POLL_MS; now() < end; poll = Math.min(poll * 1.5, LONGEST_POLL_MS)) {
        const lock = await take(name).catch(() => NO_LOCK);
        if (lock !== undefined) return lock;
        await pause(poll, undefined, { signal }).catch(() => signal.throwIfAborted());
      }
      return NO_LOCK;
    },
  };
}

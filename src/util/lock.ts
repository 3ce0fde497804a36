import { setTimeout as pause } from 'node:timers/promises';

/** Locks that let one of several processes do work that each of them needs done. */
export interface Locks {
  /**
   * Acquires the lock, unless another owner has it.
   *
   * @returns a function that releases the lock; undefined if another owner has it. A lock expires when its process dies.
   * @throws Error if the store of locks fails
   */
  take(name: string): Promise<Release | undefined>;
  /**
   * Waits for the lock for at most five seconds. After that, or if the store of locks fails, every caller does the
   * work.
   *
   * @throws the reason of the signal where it aborts
   */
  wait(name: string, signal: AbortSignal): Promise<Release>;
}

export type Release = () => void;

const PATIENCE_MS = 5_000;
/** Milliseconds between two looks, at first; each time a half more. */
const FIRST_LOOK_MS = 20;
const LONGEST_LOOK_MS = 250;

/** @param now milliseconds that never go back */
export function createLocks(take: Locks['take'], now: () => number): Locks {
  return {
    take,
    async wait(name, signal) {
      const end = now() + PATIENCE_MS;
      for (let look = FIRST_LOOK_MS; now() < end; look = Math.min(look * 1.5, LONGEST_LOOK_MS)) {
        const turn = await take(name).catch(() => () => {});
        if (turn !== undefined) return turn;
        await pause(look, undefined, { signal }).catch(() => signal.throwIfAborted());
      }
      return () => {};
    },
  };
}

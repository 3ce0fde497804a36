import { setTimeout as pause } from 'node:timers/promises';

/** Lets one of several processes do what each of them wants done. */
export interface Locks {
  /**
   * Takes the turn, unless somebody else has it.
   *
   * @returns what ends it; undefined where somebody else has it. One whose process dies ends by itself.
   * @throws Error if that cannot be told
   */
  take(name: string): Promise<Release | undefined>;
  /**
   * if that cannot be told
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

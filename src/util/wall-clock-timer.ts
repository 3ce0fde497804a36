/** A timer for a time of the wall clock. It handles times beyond the range of setTimeout, and changes of the clock. */
export interface WallClockTimer {
  /** Sets the time, in milliseconds since the epoch, in place of an earlier one. */
  set(time: number): void;
  clear(): void;
}

/** Milliseconds. After a sleep of the machine, or a change of its clock, the timer is late by at most this. */
const LONGEST_NAP_MS = 60_000;

export function createWallClockTimer(now: () => number, onTime: () => void): WallClockTimer {
  let timer: NodeJS.Timeout | undefined;
  const clear = (): void => clearTimeout(timer);
  const set = (time: number): void => {
    clear();
    const left = time - now();
    timer = setTimeout(
      () => {
        const rest = time - now();
        // A timer may fire a moment before the clock reaches the time. If the clock was set back, a near time ends anyway,
        // because a caller that polls would otherwise stop for as long.
        if (left > LONGEST_NAP_MS || (rest > 0 && rest < left)) set(time);
        else onTime();
      },
      Math.min(Math.max(left, 0), LONGEST_NAP_MS),
    );
    timer.unref();
  };
  return { set, clear };
}

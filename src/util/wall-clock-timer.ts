/** Wakes its owner at a time of the wall clock, which may be further away than a timer reaches, or be set meanwhile. */
export interface WallClockTimer {
  /** Milliseconds since the epoch; takes the place of the time that was set before. */
  set(time: number): void;
  clear(): void;
}

/** Milliseconds. After a sleep of the machine, or a change of its clock, an alarm is at most this late. */
const LONGEST_NAP_MS = 60_000;

export function createWallClockTimer(now: () => number, onTime: () => void): WallClockTimer {
  let timer: NodeJS.Timeout | undefined;
  const clear = (): void => clearTimeout(timer);
  const set = (time: number): void => {
    clear();
    const left = time - now();
    timer = setTimeout(
      () => (left <= LONGEST_NAP_MS ? onTime() : set(time)),
      Math.min(Math.max(left, 0), LONGEST_NAP_MS),
    );
    timer.unref();
  };
  return { set, clear };
}

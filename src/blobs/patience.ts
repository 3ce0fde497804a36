/** Limits the time for which some readers of a fetch wait for the others. */
export interface Patience {
  /** Notes whether readers wait now. */
  update(isWaiting: boolean): void;
}

export interface PatienceLimits {
  /** Milliseconds. */
  readonly least: number;
  /** The share of the time since the start by which the limit grows. */
  readonly share: number;
}

/**
 * @param onEnd called when the readers have waited for too long
 * @param now a monotonic clock, in milliseconds
 */
export function createPatience(
  { least, share }: PatienceLimits,
  onEnd: () => void,
  now: () => number = () => performance.now(),
): Patience {
  const start = now();
  /** Milliseconds of all earlier waits. */
  let waited = 0;
  let since: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  const update = (isWaiting: boolean): void => {
    const time = now();
    if (isWaiting && since === undefined) {
      since = time;
      const left = Math.max(least + share * (time - start) - waited, 0);
      timer = setTimeout(onEnd, left).unref();
    } else if (!isWaiting && since !== undefined) {
      waited += time - since;
      since = undefined;
      clearTimeout(timer);
    }
  };
  return { update };
}

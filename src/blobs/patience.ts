/** Limits the time for which some readers of a fetch wait for the others. */
export interface Patience {
  /**
   * Notes how readers wait from now on.
   *
   * @param weight the part of the time that counts: 0 if none wait, at most 1
   * @returns false if they have waited for too long
   */
  update(weight: number): boolean;
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
  /** Milliseconds of all waits until `since`, each times its weight. */
  let waited = 0;
  let since = start;
  let weight = 0;
  let timer: NodeJS.Timeout | undefined;
  const update = (next: number): boolean => {
    const time = now();
    waited += weight * (time - since);
    since = time;
    const left = least + share * (time - start) - waited;
    if (next !== weight) {
      weight = next;
      clearTimeout(timer);
      if (weight > 0) timer = setTimeout(onEnd, Math.max(left / weight, 0)).unref();
    }
    return weight === 0 || left > 0;
  };
  return { update };
}

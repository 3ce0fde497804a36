/** The slowest that is put up with. */
export interface MinimumRateLimits {
  readonly bytesPerSecond: number;
  /** Milliseconds for which somebody may be slower, pauses included. */
  readonly patience: number;
}

/** Keeps account of how far somebody is behind the slowest pace. */
export interface MinimumRate {
  /**
   * Counts milliseconds that were waited and bytes that moved meanwhile. Bytes pay for time; what is paid too much is
   * not kept, so that a fast beginning is no leave to stop for hours.
   *
   * @returns true if it is still fast enough
   */
  count(milliseconds: number, bytes: number): boolean;
  /** Forgets what is owed: nothing was waited for. */
  reset(): void;
}

/** A burst of `bytesPerSecond` times `patience` bytes is enough for another stretch of patience, however it came. */
export function createMinimumRate({ bytesPerSecond, patience }: MinimumRateLimits): MinimumRate {
  let owed = 0;
  return {
    count(milliseconds, bytes) {
      owed = Math.max(owed + milliseconds - (bytes / bytesPerSecond) * 1000, 0);
      return owed <= patience;
    },
    reset() {
      owed = 0;
    },
  };
}

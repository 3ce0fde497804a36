/** The slowest that is put up with. */
export interface MinimumRateLimits {
  readonly bytesPerSecond: number;
  /** Milliseconds for which a peer may be slower, pauses included. */
  readonly patience: number;
}

/** Tracks how far a peer is behind the minimum rate. */
export interface MinimumRate {
  /**
   * Counts the milliseconds waited and the bytes moved meanwhile. Bytes pay for time. Surplus is not kept, so that a
   * fast start does not permit a pause of hours.
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

/** The minimum transfer rate of a peer. */
export interface MinimumRateLimits {
  readonly bytesPerSecond: number;
  /** Milliseconds for which a peer may be slower, including pauses. */
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
  /** Resets the deficit, for example because no bytes were expected. */
  reset(): void;
}

/** A burst of `bytesPerSecond` times `patience` bytes clears the deficit. */
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

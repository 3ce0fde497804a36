import { backoff } from '../util/backoff.ts';

/** Decides whether to contact a host, based on earlier results. */
export interface Circuit {
  /**
   * Returns true if the host may be asked now. After a pause, one request tries, and all others wait for its result.
   */
  admits(): boolean;
  succeeded(): void;
  /** @param pause minimum milliseconds, such as those that a rate-limiting host requests */
  failed(error: Error, pause?: number): void;
}

export interface CircuitOptions {
  /** A monotonic clock, in milliseconds. */
  readonly now: () => number;
  /** Returns a number from 0 to 1 for jitter. */
  readonly random: () => number;
  /** Called once when the host is skipped, with the milliseconds of the first pause. */
  readonly onOpen: (error: Error, pause: number) => void;
  /** Called once when the host is used again. */
  readonly onClose: () => void;
}

/** Milliseconds. */
export const LONGEST_PAUSE_MS = 60_000;
const PAUSES = { first: 1_000, longest: LONGEST_PAUSE_MS };

/** Skips a host after a failure: for a second, then twice as long each time, up to a minute. */
export function createCircuit({ now, random, onOpen, onClose }: CircuitOptions): Circuit {
  let failures = 0;
  let openUntil = Number.NEGATIVE_INFINITY;
  let isOnTrial = false;
  return {
    admits() {
      if (failures === 0) return true;
      if (now() < openUntil) return false;
      openUntil = now() + backoff(PAUSES, failures, random());
      isOnTrial = true;
      return true;
    },
    succeeded() {
      if (failures > 0) onClose();
      failures = 0;
      isOnTrial = false;
    },
    failed(error, least = 0) {
      const wasClosed = failures === 0;
      // Concurrent requests that failed together count as one failure.
      if (wasClosed || isOnTrial) failures += 1;
      isOnTrial = false;
      const pause = Math.max(backoff(PAUSES, failures, random()), least);
      openUntil = Math.max(openUntil, now() + pause);
      if (wasClosed) onOpen(error, pause);
    },
  };
}

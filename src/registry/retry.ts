import { setTimeout as delay } from 'node:timers/promises';
import { isOutage } from './status-error.ts';

/** How patiently one operation is tried again. */
export interface RetryLimits {
  /** Further tries after the first, in a row. */
  readonly retries: number;
  /** Milliseconds that a registry may ask us to wait; a longer wait is left to the client. */
  readonly longestPause: number;
}

/** The tries of one operation, which share one budget, however many requests the operation takes. */
export interface Tries {
  /**
   * Waits until the next try is due: twice as long after each failure, and at least as long as the registry asks.
   *
   * @throws the error itself where another try is useless, harmful, or over the budget; AbortError
   */
  next(error: unknown, signal: AbortSignal): Promise<void>;
  /** Counts from the start again, because there is progress. */
  restart(): void;
}

/** Begins an operation. */
export type Retry = (limits: RetryLimits) => Tries;

export interface RetryOptions {
  /** A number from 0 to 1, which spreads the tries of clients that failed together. */
  readonly random: () => number;
  /** Waits for some milliseconds, or rejects with an AbortError. */
  readonly pause: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

const FIRST_PAUSE_MS = 250;

/** The one place that decides whether, and when, a request to a registry or a token server is sent again. */
export function createRetry({ random, pause }: RetryOptions): Retry {
  return ({ retries, longestPause }) => {
    let failures = 0;
    return {
      async next(error, signal) {
        failures += 1;
        const asked = isOutage(error) && !error.isFinal ? (error.pause ?? 0) : Number.POSITIVE_INFINITY;
        if (failures > retries || asked > longestPause || signal.aborted) throw error;
        // At least half of it: a herd is spread, and a registry still gets time to recover.
        const backOff = FIRST_PAUSE_MS * 2 ** (failures - 1) * (0.5 + random() / 2);
        try {
          await pause(asked + backOff, signal);
        } catch (abort) {
          // The deadline came first: what failed says more than that.
          throw isDeadline(signal.reason) ? error : abort;
        }
      },
      restart() {
        failures = 0;
      },
    };
  };
}

/** Tries again after real pauses, at random. */
export const patiently: Retry = createRetry({
  random: Math.random,
  pause: (milliseconds, signal) => delay(milliseconds, undefined, { signal }),
});

/**
 * Runs work, which must be safe to repeat, until it succeeds or its tries are used up.
 *
 * @throws what the last try threw
 */
export async function retrying<T>(tries: Tries, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      await tries.next(error, signal);
    }
  }
}

function isDeadline(reason: unknown): boolean {
  return reason instanceof Error && reason.name === 'TimeoutError';
}

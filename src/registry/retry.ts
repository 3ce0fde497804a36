import { setTimeout as delay } from 'node:timers/promises';
import { isOutage } from '../errors.ts';
import { backoff } from '../util/backoff.ts';

/** Limits for the retries of one operation. */
export interface RetryLimits {
  /** Consecutive retries after the first try. */
  readonly retries: number;
  /** Maximum milliseconds that a registry may ask for. A longer wait is left to the client. */
  readonly longestPause: number;
}

/** The tries of one operation. All its requests share one budget. */
export interface Tries {
  /**
   * Waits until the next try: twice as long after each failure, and at least as long as the registry asks.
   *
   * @throws the error itself if another try is useless, harmful, or over budget; AbortError
   */
  next(error: unknown, signal: AbortSignal): Promise<void>;
  /** Resets the count, because there was progress. */
  restart(): void;
}

/** Starts an operation. */
export type Retry = (limits: RetryLimits) => Tries;

export interface RetryOptions {
  /** Returns a number from 0 to 1, which spreads the tries of clients that failed together. */
  readonly random: () => number;
  /** Waits for some milliseconds, or rejects with an AbortError. */
  readonly pause: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

const PAUSES = { first: 250 };

/** Creates the policy that alone decides whether and when a request to a registry or token server is repeated. */
export function createRetry({ random, pause }: RetryOptions): Retry {
  return ({ retries, longestPause }) => {
    let failures = 0;
    return {
      async next(error, signal) {
        failures += 1;
        const asked = isOutage(error) && !error.isFinal ? (error.pause ?? 0) : Number.POSITIVE_INFINITY;
        if (failures > retries || asked > longestPause || signal.aborted) throw error;
        try {
          await pause(asked + backoff(PAUSES, failures, random()), signal);
        } catch (abort) {
          // If the deadline ends the pause, the failure explains more than the timeout.
          throw isDeadline(signal.reason) ? error : abort;
        }
      },
      restart() {
        failures = 0;
      },
    };
  };
}

/** Retries after real pauses with random jitter. */
export const patiently: Retry = createRetry({
  random: Math.random,
  pause: (milliseconds, signal) => delay(milliseconds, undefined, { signal }),
});

/**
 * Runs work, which must be safe to repeat, until it succeeds or its tries are used up.
 *
 * @throws the error of the last try
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

import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';
import type { CountingStore } from './counting-store.ts';

/** Limits how many refused credentials a registry gets from all clients of all processes that share a store. */
export interface LoginBrake {
  /**
   * Admits credentials, which count as refused until their outcome is known. Credentials that a registry lately accepted
   * from this process always pass, and count only if it refuses them. Neither guesses nor many downloads then lock out
   * others.
   *
   * @param key the keyed hash of the credentials, which stays in this process
   * @returns reports the outcome; later calls change nothing
   * @throws ServiceError `too-many-failed-logins`
   */
  admit(registry: string, key: string): Promise<ReportLogin>;
}

export type ReportLogin = (outcome: LoginOutcome) => void;

/** `unknown`: the registry did not decide, for example because it failed. */
export type LoginOutcome = 'accepted' | 'refused' | 'unknown';

/** Refused credentials per registry in a window. */
const MOST = 100;
const WINDOW_MS = 10 * 60_000;
/** Bytes, enough for about a thousand credentials. */
const LIMIT = 256 * 1024;

/**
 * @param store a store that never fails
 * @param now monotonic milliseconds
 */
export function createLoginBrake(store: CountingStore, caches: MemoryCaches, now: () => number): LoginBrake {
  const accepted = caches.open<true>({ name: 'accepted-logins', limit: LIMIT, ttl: WINDOW_MS });
  const count = async (registry: string, amount: number) => {
    const [counted = { value: 0, resetsIn: WINDOW_MS }] = await store.add([
      { counter: `logins ${registry}`, amount, window: WINDOW_MS },
    ]);
    return counted;
  };
  return {
    async admit(registry, key) {
      const counted = accepted.get(key) === true ? 0 : 1;
      const { value, resetsIn } = await count(registry, counted);
      if (counted > 0 && value > MOST) {
        await count(registry, -counted);
        throw tooMany(registry, resetsIn);
      }
      const ends = now() + resetsIn;
      let isReported = false;
      return (outcome) => {
        if (isReported) return;
        isReported = true;
        if (outcome === 'accepted') accepted.set(key, true);
        if (outcome === 'refused') accepted.delete(key);
        const more = (outcome === 'refused' ? 1 : 0) - counted;
        // The next window does not contain what this one counted.
        if (more > 0 || (more < 0 && now() < ends)) void count(registry, more);
      };
    },
  };
}

function tooMany(registry: string, milliseconds: number): ServiceError {
  return new ServiceError('too-many-failed-logins', detail('logins-failed', { host: registry }), {
    retryAfter: Math.ceil(milliseconds / 1000),
  });
}

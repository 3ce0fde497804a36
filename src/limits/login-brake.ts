import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';
import type { CountingStore } from './counting-store.ts';

/**
 * Limits how many refused credentials a registry gets from one client, and from all clients, of all processes that share
 * a store. A few clients alone then cannot lock out others.
 */
export interface LoginBrake {
  /**
   * Admits credentials, which count as refused until their outcome is known. Credentials that a registry recently
   * accepted from this process always pass, and count only if it refuses them. Neither guesses nor many downloads then
   * lock out others.
   *
   * @param client the client whose limits the request counts toward
   * @param key the keyed hash of the credentials, which stays in this process
   * @returns reports the outcome; later calls change nothing
   * @throws ServiceError `too-many-failed-logins`
   */
  admit(registry: string, client: string, key: string): Promise<ReportLogin>;
}

export type ReportLogin = (outcome: LoginOutcome) => void;

/** `unknown`: the registry did not decide, for example because it failed. */
export type LoginOutcome = 'accepted' | 'refused' | 'unknown';

/** Refused credentials per registry in a window: of all clients, and of one. */
const MOST = 100;
const MOST_OF_CLIENT = 25;
/** The first tries of each client have a higher limit, so that a few guessing clients do not lock out all others. */
const FIRST_OF_CLIENT = 3;
const MOST_WITH_FIRST = 200;
const WINDOW_MS = 10 * 60_000;
/** Bytes, enough for about a thousand credentials. */
const LIMIT = 256 * 1024;

/**
 * @param store a store that never fails
 * @param now monotonic milliseconds
 */
export function createLoginBrake(store: CountingStore, caches: MemoryCaches, now: () => number): LoginBrake {
  const accepted = caches.open<true>({ name: 'accepted-logins', limit: LIMIT, ttl: WINDOW_MS });
  return {
    async admit(registry, client, key) {
      const counters = [`logins ${registry}`, `logins ${registry} ${client}`];
      const add = (amount: number, to: readonly string[] = counters) =>
        store.add(to.map((counter) => ({ counter, amount, window: WINDOW_MS })));
      const counted = accepted.get(key) === true ? 0 : 1;
      const counts = await add(counted);
      const isFirst = (counts[1]?.value ?? 0) <= FIRST_OF_CLIENT;
      const limits = [isFirst ? MOST_WITH_FIRST : MOST, MOST_OF_CLIENT];
      const states = counters.map((counter, at) => {
        const { value, resetsIn } = counts[at] ?? { value: 0, resetsIn: WINDOW_MS };
        return { counter, isExceeded: value > (limits[at] ?? 0), resetsIn, ends: now() + resetsIn };
      });
      const exceeded = states.filter(({ isExceeded }) => isExceeded);
      if (counted > 0 && exceeded.length > 0) {
        await add(-counted);
        throw tooMany(registry, Math.max(...exceeded.map(({ resetsIn }) => resetsIn)));
      }
      let isReported = false;
      return (outcome) => {
        if (isReported) return;
        isReported = true;
        if (outcome === 'accepted') accepted.set(key, true);
        if (outcome === 'refused') accepted.delete(key);
        const more = (outcome === 'refused' ? 1 : 0) - counted;
        if (more > 0) void add(more);
        // The next window does not contain what this one counted.
        else if (more < 0)
          void add(
            more,
            states.filter(({ ends }) => now() < ends).map(({ counter }) => counter),
          );
      };
    },
  };
}

function tooMany(registry: string, milliseconds: number): ServiceError {
  return new ServiceError('too-many-failed-logins', detail('logins-failed', { host: registry }), {
    retryAfter: Math.ceil(milliseconds / 1000),
  });
}

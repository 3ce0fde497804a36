import { ServiceError } from '../errors.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';

/** Limits how many refused credentials a registry gets from all clients of this process together. */
export interface LoginBrake {
  /**
   * Admits credentials, which count as refused until their outcome is known. Credentials that a registry accepted lately
   * always pass and count only if it refuses them, so that neither guessing nor many downloads lock out others.
   *
   * @param key the keyed hash of the credentials
   * @returns reports the outcome; later calls change nothing
   * @throws ServiceError `too-many-failed-logins`
   */
  admit(registry: string, key: string): (outcome: LoginOutcome) => void;
}

/** `unknown`: the registry did not decide, for example because it failed. */
export type LoginOutcome = 'accepted' | 'refused' | 'unknown';

interface Failures {
  readonly count: number;
  /** On the clock of `now`. */
  readonly ends: number;
}

/** Refused credentials per registry in a window. */
const MOST = 100;
const WINDOW_MS = 10 * 60_000;
/** Bytes, enough for about a thousand registries, and as many credentials. */
const LIMIT = 256 * 1024;

/** @param now monotonic milliseconds */
export function createLoginBrake(caches: MemoryCaches, now: () => number): LoginBrake {
  const failures = caches.open<Failures>({ name: 'failed-logins', limit: LIMIT, ttl: WINDOW_MS });
  const accepted = caches.open<true>({ name: 'accepted-logins', limit: LIMIT, ttl: WINDOW_MS });
  const count = (registry: string, more: number): void => {
    const { count: before, ends } = known(registry);
    failures.set(registry, { count: Math.max(before + more, 0), ends });
  };
  const known = (registry: string): Failures => {
    const found = failures.get(registry);
    return found !== undefined && found.ends > now() ? found : { count: 0, ends: now() + WINDOW_MS };
  };
  return {
    admit(registry, key) {
      const isKnown = accepted.get(key) === true;
      const { count: before, ends } = known(registry);
      if (!isKnown && before >= MOST) throw tooMany(registry, ends - now());
      const counted = isKnown ? 0 : 1;
      count(registry, counted);
      let isReported = false;
      return (outcome) => {
        if (isReported) return;
        isReported = true;
        count(registry, (outcome === 'refused' ? 1 : 0) - counted);
        if (outcome === 'accepted') accepted.set(key, true);
        if (outcome === 'refused') accepted.delete(key);
      };
    },
  };
}

function tooMany(registry: string, milliseconds: number): ServiceError {
  return new ServiceError(
    'too-many-failed-logins',
    `${registry} refused too many credentials from the clients of this service.`,
    { retryAfter: Math.ceil(milliseconds / 1000) },
  );
}

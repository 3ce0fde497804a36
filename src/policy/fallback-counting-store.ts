import type { CountingStore } from './counting-store.ts';

/**
 * Counts in the first store and, where that fails, in the second one, so that neither limits nor the service end with a
 * disk. A failure is told once, and once more after the store has worked again.
 */
export function createFallbackCountingStore(
  first: CountingStore,
  second: CountingStore,
  onFailure: (error: Error) => void,
): CountingStore {
  let isFailing = false;
  const attempt = async <T>(call: (store: CountingStore) => Promise<T>): Promise<T> => {
    try {
      const result = await call(first);
      isFailing = false;
      return result;
    } catch (error) {
      if (!isFailing) onFailure(error as Error);
      isFailing = true;
      return call(second);
    }
  };
  return {
    add: (additions) => attempt((store) => store.add(additions)),
    acquire: (lease, limits) => attempt((store) => store.acquire(lease, limits)),
    renew: (leases) => attempt((store) => store.renew(leases)),
    release: (lease) => attempt((store) => store.release(lease)),
    active: (client) => attempt((store) => store.active(client)),
    close() {
      first.close();
      second.close();
    },
  };
}

import type { CountingStore } from './counting-store.ts';

/** Milliseconds that a store which failed is left alone: one that hangs must not hold up each request anew. */
const REST_MS = 5000;

export interface FallbackOptions {
  /** Told when the first store begins to fail, not each time that it does. */
  readonly onFailure: (error: Error) => void;
  readonly now: () => number;
}

/** Counts in the first store and, while that fails, in the second one: neither limits nor the service end with a disk. */
export function createFallbackCountingStore(
  first: CountingStore,
  second: CountingStore,
  { onFailure, now }: FallbackOptions,
): CountingStore {
  let failed: number | undefined;
  const attempt = async <T>(call: (store: CountingStore) => Promise<T>): Promise<T> => {
    if (failed !== undefined && Math.abs(now() - failed) < REST_MS) return call(second);
    try {
      const result = await call(first);
      failed = undefined;
      return result;
    } catch (error) {
      if (failed === undefined) onFailure(error as Error);
      failed = now();
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

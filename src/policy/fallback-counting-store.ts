import type { CountingStore } from './counting-store.ts';

/** Milliseconds that a store which failed is left alone: one that hangs must not hold up each request anew. */
const REST_MS = 5000;

export interface FallbackOptions {
  /** Opens the store that is wanted; again after each failure. */
  readonly open: () => CountingStore;
  /** Counts while that one fails, and does not fail itself. */
  readonly substitute: CountingStore;
  /** Told when the wanted store begins to fail, not each time that it does. */
  readonly onFailure: (error: Error) => void;
  readonly now: () => number;
}

/** A store that never fails, so that neither limits nor the service end with a disk. */
export function createFallbackCountingStore({
  open,
  substitute,
  onFailure,
  now,
}: FallbackOptions): CountingStore {
  let wanted: CountingStore | undefined;
  let failed: number | undefined;

  const fail = (error: Error): void => {
    if (failed === undefined) onFailure(error);
    failed = now();
    wanted?.close();
    wanted = undefined;
  };
  const attempt = async <T>(call: (store: CountingStore) => Promise<T>): Promise<T> => {
    if (failed !== undefined && Math.abs(now() - failed) < REST_MS) return call(substitute);
    try {
      wanted ??= open();
      const result = await call(wanted);
      failed = undefined;
      return result;
    } catch (error) {
      fail(error as Error);
      return call(substitute);
    }
  };

  try {
    wanted = open();
  } catch (error) {
    fail(error as Error);
  }
  return {
    add: (additions) => attempt((store) => store.add(additions)),
    acquire: (lease, limits) => attempt((store) => store.acquire(lease, limits)),
    renew: (leases) => attempt((store) => store.renew(leases)),
    release: (lease) => attempt((store) => store.release(lease)),
    active: (client) => attempt((store) => store.active(client)),
    close() {
      wanted?.close();
      substitute.close();
    },
  };
}

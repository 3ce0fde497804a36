import type { MemoryCaches } from '../util/memory-caches.ts';
import type { Addition, CountingStore, Lease } from './counting-store.ts';

/** Milliseconds that a failed store is skipped, so that an unresponsive one does not delay each request again. */
const REST_MS = 5000;
/** Maximum counters, and leases, that are transferred when the store is available again. */
const MOST_OWED = 100_000;
/** Estimated bytes of a counter or a lease, including its name. */
const OWED_BYTES = 300;

export interface FallbackOptions {
  /** Opens the preferred store. Called again after each failure. */
  readonly open: () => CountingStore;
  /** Counts while the preferred store fails; must never fail itself. */
  readonly substitute: CountingStore;
  /** Called when the preferred store starts to fail, once for each outage. */
  readonly onFailure: (error: Error) => void;
  /** Called when the preferred store counts again, including everything that was counted meanwhile. */
  readonly onReturn?: (() => void) | undefined;
  readonly now: () => number;
  /** The list of in-memory caches. */
  readonly caches?: MemoryCaches | undefined;
}

/**
 * Creates a store that never fails, so that limits and the service survive the failure of a disk or of another machine.
 */
export interface FallbackCountingStore extends CountingStore {
  /** Transfers the leases and counters of this process to a store that is available again, or may have lost them. */
  catchUp(): Promise<void>;
}

export function createFallbackCountingStore(options: FallbackOptions): FallbackCountingStore {
  const { open, substitute, onFailure, onReturn = () => {}, now, caches } = options;
  let wanted: CountingStore | undefined;
  let failed: number | undefined;
  let catching: Promise<void> | undefined;
  /** The leases, releases, and counts of this process that the preferred store lacks. */
  const held = new Map<string, Lease>();
  const given = new Map<string, Lease>();
  const owed = new Map<string, Addition & { readonly begun: number }>();
  caches?.list({
    name: 'limits-owed',
    limit: 2 * MOST_OWED * OWED_BYTES,
    bytes: () => (given.size + owed.size) * OWED_BYTES,
  });

  const fail = (error: Error): void => {
    if (failed === undefined) {
      onFailure(error);
      substitute.renew([...held.values()]);
    }
    failed = now();
    wanted?.close();
    wanted = undefined;
  };
  const owe = (additions: readonly Addition[]): void => {
    for (const { counter, amount, window } of additions) {
      const before = owed.get(counter);
      if (amount === 0 || (before === undefined && owed.size >= MOST_OWED)) continue;
      const isOver = before === undefined || now() - before.begun >= window;
      const begun = isOver ? now() : before.begun;
      owed.set(counter, { counter, amount: isOver ? amount : before.amount + amount, window, begun });
    }
  };
  const makeUp = async (): Promise<void> => {
    wanted ??= open();
    await wanted.renew([...held.values()]);
    for (const [name, lease] of given) {
      await wanted.release(lease);
      given.delete(name);
    }
    const additions = [...owed.values()].filter(({ begun, window }) => now() - begun < window);
    owed.clear();
    try {
      if (additions.length > 0) await wanted.add(additions);
    } catch (error) {
      owe(additions);
      throw error;
    }
    if (failed === undefined) return;
    failed = undefined;
    for (const lease of held.values()) substitute.release(lease);
    onReturn();
  };
  const caughtUp = (): Promise<void> => {
    catching ??= makeUp().finally(() => {
      catching = undefined;
    });
    return catching;
  };
  /** @param missed records the changes that the preferred store misses */
  const attempt = async <T>(
    call: (store: CountingStore) => Promise<T>,
    missed: () => unknown = () => {},
  ): Promise<T> => {
    const isResting = failed !== undefined && Math.abs(now() - failed) < REST_MS;
    if (!isResting) {
      try {
        if (failed !== undefined) await caughtUp();
        wanted ??= open();
        return await call(wanted);
      } catch (error) {
        fail(error as Error);
      }
    }
    missed();
    return call(substitute);
  };

  try {
    wanted = open();
  } catch (error) {
    fail(error as Error);
  }
  return {
    add: (additions) =>
      attempt(
        (store) => store.add(additions),
        () => owe(additions),
      ),
    async acquire(lease, limits) {
      const acquisition = await attempt((store) => store.acquire(lease, limits));
      if (acquisition === 'granted') {
        held.set(nameOf(lease), lease);
        given.delete(nameOf(lease));
      }
      return acquisition;
    },
    renew: (leases) => attempt((store) => store.renew(leases)),
    release(lease) {
      held.delete(nameOf(lease));
      return attempt(
        (store) => store.release(lease),
        () => given.size < MOST_OWED && given.set(nameOf(lease), lease),
      );
    },
    active: (client) => attempt((store) => store.active(client)),
    catchUp: () => caughtUp().catch((error) => fail(error as Error)),
    close() {
      wanted?.close();
      substitute.close();
    },
  };
}

function nameOf({ client, archive, holder }: Lease): string {
  return `${client}\n${archive}\n${holder}`;
}

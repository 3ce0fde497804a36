import type { MemoryCaches } from '../util/memory-caches.ts';
import {
  type Acquisition,
  type Addition,
  type Count,
  type CountingStore,
  LEASE_MS,
  type Lease,
  type LeaseLimits,
} from './counting-store.ts';

/** Maximum number of counters. Beyond it, the oldest are dropped. */
const MOST_COUNTERS = 100_000;
/** Estimated bytes of a counter, including its name. */
const COUNTER_BYTES = 200;
/** Milliseconds between sweeps of counters whose window is over. */
const SWEEP_MS = 60_000;

/**
 * Counts in memory: for one process, until it ends.
 *
 * @param now milliseconds since the epoch
 */
export function createMemoryCountingStore(now: () => number, caches?: MemoryCaches): CountingStore {
  const counters = new Map<string, { value: number; resets: number }>();
  /** The ends of leases, by client, archive and holder. */
  const leases = new Map<string, Map<string, Map<string, number>>>();
  let swept = now();
  caches?.list({
    name: 'limit-counters',
    limit: MOST_COUNTERS * COUNTER_BYTES,
    bytes: () => counters.size * COUNTER_BYTES,
  });

  const sweep = (at: number): void => {
    if (at - swept < SWEEP_MS && counters.size < MOST_COUNTERS) return;
    swept = at;
    for (const [name, { resets }] of counters) if (resets <= at) counters.delete(name);
    if (counters.size < MOST_COUNTERS) return;
    // More than one, so that this does not run for every counter.
    for (const name of [...counters.keys()].slice(0, MOST_COUNTERS / 10)) counters.delete(name);
  };
  const add = ({ counter: name, amount, window }: Addition): Count => {
    const at = now();
    const counter = counters.get(name);
    // If a window ends later than a whole window from now, the clock was set back.
    const isOver = counter === undefined || counter.resets <= at || counter.resets > at + window;
    if (isOver && amount <= 0) return { value: 0, resetsIn: window };
    if (isOver) {
      sweep(at);
      counters.delete(name);
      counters.set(name, { value: amount, resets: at + window });
      return { value: amount, resetsIn: window };
    }
    counter.value = Math.max(counter.value + amount, 0);
    return { value: counter.value, resetsIn: counter.resets - at };
  };
  const prune = (): void => {
    for (const [client, archives] of leases) {
      for (const [archive, holders] of archives) {
        for (const [holder, end] of holders) if (end <= now()) holders.delete(holder);
        if (holders.size === 0) archives.delete(archive);
      }
      if (archives.size === 0) leases.delete(client);
    }
  };
  const hold = ({ client, archive, holder }: Lease): void => {
    const archives = leases.get(client) ?? new Map<string, Map<string, number>>();
    const holders = archives.get(archive) ?? new Map<string, number>();
    leases.set(client, archives.set(archive, holders.set(holder, now() + LEASE_MS)));
  };

  return {
    add: async (additions) => additions.map(add),
    async acquire(lease, { perClient, total }: LeaseLimits): Promise<Acquisition> {
      prune();
      const own = leases.get(lease.client);
      if (own?.has(lease.archive) !== true) {
        const all = [...leases.values()].reduce((sum, archives) => sum + archives.size, 0);
        if (perClient > 0 && (own?.size ?? 0) >= perClient) return 'client-full';
        if (total > 0 && all >= total) return 'service-full';
      }
      hold(lease);
      return 'granted';
    },
    renew: async (held) => held.forEach(hold),
    async release({ client, archive, holder }) {
      leases.get(client)?.get(archive)?.delete(holder);
      prune();
    },
    async active(client) {
      prune();
      return leases.get(client)?.size ?? 0;
    },
    close: () => {},
  };
}

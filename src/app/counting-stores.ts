import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Config } from '../config/schema.ts';
import { createBufferedCountingStore } from '../limits/buffered-counting-store.ts';
import type { CountingStore } from '../limits/counting-store.ts';
import { createFallbackCountingStore } from '../limits/fallback-counting-store.ts';
import { createMemoryCountingStore } from '../limits/memory-counting-store.ts';
import { createRedisCountingStore } from '../limits/redis-counting-store.ts';
import { openSqliteCountingStore } from '../limits/sqlite-counting-store.ts';
import type { Redis } from '../redis/redis.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';

export interface CountingSurroundings {
  /** Number of processes of this service on this machine. */
  readonly workers: number;
  /** The list to which an in-memory cache is added. */
  readonly caches?: MemoryCaches;
}

/** Opens the store of the limits. While Redis is unreachable, this machine counts alone, so that limits still apply. */
export function openCountingStore(
  config: Config,
  logger: Logger,
  redis: Redis | undefined,
  surroundings: CountingSurroundings,
): CountingStore {
  const { caches } = surroundings;
  const local = openLocalCountingStore(config, logger, surroundings);
  if (redis === undefined) return local;
  const store = createFallbackCountingStore({
    open: () => createRedisCountingStore(redis),
    substitute: local,
    onFailure: (err) =>
      logger.error(
        { err },
        `Cannot count limits in Redis; counting them on this machine alone: ${err.message}`,
      ),
    onReturn: () =>
      logger.warn('Counting limits in Redis again, including the usage counted in the meantime'),
    now: Date.now,
    caches,
  });
  redis.onReturn(() => void store.catchUp());
  return store;
}

/** Opens the store of this machine. While its file is unusable, this process counts by itself. */
export function openLocalCountingStore(
  { stateDir, limitsStore }: Config,
  logger: Logger,
  { workers, caches }: CountingSurroundings,
): CountingStore {
  const memory = createMemoryCountingStore(Date.now, caches);
  if (limitsStore === 'memory') return memory;
  return createFallbackCountingStore({
    open() {
      mkdirSync(stateDir, { recursive: true, mode: 0o700 });
      const store = openSqliteCountingStore(join(stateDir, 'limits.sqlite'), Date.now);
      return createBufferedCountingStore({ store, now: Date.now, isWorker: workers > 1 });
    },
    substitute: memory,
    onFailure: (err) =>
      logger.warn(
        { err },
        `Cannot count limits in the file; counting them in the memory of this process alone: ${err.message}`,
      ),
    now: Date.now,
    caches,
  });
}

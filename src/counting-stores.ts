import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Config } from './config/schema.ts';
import type { MemoryCaches } from './memory-caches.ts';
import type { CountingStore } from './policy/counting-store.ts';
import { createFallbackCountingStore } from './policy/fallback-counting-store.ts';
import { createMemoryCountingStore } from './policy/memory-counting-store.ts';
import { createRedisCountingStore } from './policy/redis-counting-store.ts';
import { openSqliteCountingStore } from './policy/sqlite-counting-store.ts';
import type { Redis } from './redis/redis.ts';

/** Limits hold in any case: while Redis is away, this machine counts by itself. */
export function openCountingStore(
  config: Config,
  logger: Logger,
  redis: Redis | undefined,
  caches: MemoryCaches,
): CountingStore {
  const local = openLocalCountingStore(config, logger, caches);
  if (redis === undefined) return local;
  const store = createFallbackCountingStore({
    open: () => createRedisCountingStore(redis),
    substitute: local,
    onFailure: (err) => logger.error({ err }, `Limits are counted by this machine alone: ${err.message}`),
    onReturn: () => logger.warn('Limits are counted in Redis again, with what was counted meanwhile'),
    now: Date.now,
    caches,
  });
  redis.onReturn(() => void store.catchUp());
  return store;
}

/** While the file cannot be used, this process counts by itself. */
export function openLocalCountingStore(
  { stateDir, limitsStore }: Config,
  logger: Logger,
  caches?: MemoryCaches,
): CountingStore {
  const memory = createMemoryCountingStore(Date.now, caches);
  if (limitsStore === 'memory') return memory;
  return createFallbackCountingStore({
    open() {
      mkdirSync(stateDir, { recursive: true, mode: 0o700 });
      return openSqliteCountingStore(join(stateDir, 'limits.sqlite'), Date.now);
    },
    substitute: memory,
    onFailure: (err) =>
      logger.warn({ err }, `Limits are counted in memory, for this process alone: ${err.message}`),
    now: Date.now,
    caches,
  });
}

import { KEY_PREFIX, type Redis } from '../redis/redis.ts';
import type { KeyValueStore, StoreKind } from './manifest-store.ts';

/** Bytes of a manifest at most: the memory of Redis is for what everyone wants, and most have a few kB. */
const LARGEST = 64 * 1024;
/** Milliseconds: long enough for all replicas to have a manifest on their disks. */
const MANIFEST_TTL_MS = 3_600_000;

/**
 * Shows replicas what one of them remembers.
 *
 * @param tagTtl milliseconds for which what a tag means is of use
 */
export function createRedisStore(redis: Redis, tagTtl: number): KeyValueStore {
  const keyOf = (kind: StoreKind, name: string): string => `${KEY_PREFIX}${kind}:${name}`;
  return {
    read: (kind, name) => redis.get(keyOf(kind, name)).catch(() => undefined),
    async write(kind, name, content) {
      if (content.length > LARGEST) return;
      await redis.set(keyOf(kind, name), content, kind === 'tags' ? tagTtl : MANIFEST_TTL_MS);
    },
  };
}

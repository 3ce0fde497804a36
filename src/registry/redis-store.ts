import { KEY_PREFIX, type Redis } from '../redis/redis.ts';
import type { KeyValueStore, StoreKind } from './manifest-store.ts';

/** Maximum bytes of a manifest, to save memory of Redis. Most manifests have a few kB. */
const LARGEST = 64 * 1024;
/** Milliseconds: long enough for all replicas to have a manifest on their disks. */
const MANIFEST_TTL_MS = 3_600_000;

/**
 * Shares manifests and tags among replicas.
 *
 * @param tagTtl milliseconds for which a resolved tag is useful
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

import type { MemoryCaches } from '../util/memory-caches.ts';
import type { RegistryClient } from './client.ts';

export interface KnownBlobsOptions {
  readonly client: RegistryClient;
  /** The list that its caches stand in. */
  readonly caches: MemoryCaches;
}

/** Bytes: some 8000 answers. */
const LIMIT = 2 * 2 ** 20;
/** Milliseconds. A registry seldom deletes a layer, and a download whose layer is gone breaks off. */
const PRESENT_MS = 600_000;
/** Milliseconds: short enough for a publisher who pushes the layer. */
const ABSENT_MS = 30_000;

/** Remembers for a time whether registries have blobs, which is asked of foreign layers alone. */
export function rememberingBlobs({ client, caches }: KnownBlobsOptions): RegistryClient {
  const present = caches.open<true>({ name: 'foreign-layers', limit: LIMIT, ttl: PRESENT_MS });
  const absent = caches.open<true>({ name: 'foreign-layers', limit: LIMIT, ttl: ABSENT_MS });
  return {
    ...client,
    async hasBlob(repository, blob, signal) {
      const key = `${repository.domain}/${repository.path}@${blob.digest}`;
      if (present.get(key)) return true;
      if (absent.get(key)) return false;
      const isThere = await client.hasBlob(repository, blob, signal);
      (isThere ? present : absent).set(key, true);
      return isThere;
    },
  };
}

import type { MemoryCaches } from '../util/memory-caches.ts';
import type { DescribingClient, FoundBlob } from './client.ts';

export interface KnownBlobsOptions {
  readonly client: DescribingClient;
  /** The list to which its caches are added. */
  readonly caches: MemoryCaches;
}

/** Bytes: some 8000 answers. */
const LIMIT = 2 * 2 ** 20;
/** Milliseconds. A registry seldom deletes a layer, and a download whose layer is gone breaks off. */
const PRESENT_MS = 600_000;
/** Milliseconds that an absence is cached: short, because a publisher may push the layer. */
const ABSENT_MS = 30_000;

/** Remembers for a time which blobs repositories have, for foreign layers and for pulls. */
export function rememberingBlobs({ client, caches }: KnownBlobsOptions): DescribingClient {
  const present = caches.open<FoundBlob>({ name: 'found-blobs', limit: LIMIT, ttl: PRESENT_MS });
  const absent = caches.open<true>({ name: 'found-blobs', limit: LIMIT, ttl: ABSENT_MS });
  return {
    ...client,
    async findBlob(repository, digest, signal) {
      const key = `${repository.domain}/${repository.path}@${digest}`;
      const known = present.get(key);
      if (known !== undefined || absent.get(key)) return known;
      const found = await client.findBlob(repository, digest, signal);
      if (found === undefined) absent.set(key, true);
      else present.set(key, found);
      return found;
    },
  };
}

import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { MemoryCaches } from '../util/memory-caches.ts';
import type { RegistryClient } from './client.ts';

export interface SmallBlobsOptions {
  readonly client: RegistryClient;
  /** The list to which the cache is added. */
  readonly caches: MemoryCaches;
}

/** Bytes of the largest blob that is kept. Most configs have a few thousand. */
const BLOB_MAX = 64 * 1024;
/** Bytes of all blobs together. */
const LIMIT = 8 * 2 ** 20;

/**
 * Keeps small blobs that are read whole, such as configs, in memory by repository and digest. A service without a disk
 * cache would otherwise fetch the config for each request, and behind nginx each slice of a file is one.
 */
export function keepingSmallBlobs({ client, caches }: SmallBlobsOptions): RegistryClient {
  const kept = caches.open<Uint8Array>({ name: 'small-blobs', limit: LIMIT });
  return {
    ...client,
    blobs(repository) {
      const reader = client.blobs(repository);
      return {
        ...reader,
        async read(blob, range, signal) {
          if (range !== undefined || blob.size > BLOB_MAX) return reader.read(blob, range, signal);
          const key = `${repository.domain}/${repository.path}@${blob.digest} ${blob.size}`;
          const known = kept.get(key);
          const bytes = known ?? (await buffer(await reader.read(blob, undefined, signal)));
          if (known === undefined) kept.set(key, bytes);
          return Readable.from([bytes]);
        },
      };
    },
  };
}

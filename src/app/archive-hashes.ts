import { unparted } from '../archive/parts.ts';
import { createChecksums } from '../download/checksums.ts';
import type { ArchiveHashes } from '../sources/contents/contents-source.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';

/**
 * Hashes whole archives, and shares the hashes with the checksums that clients request.
 *
 * @param folder the folder of the cache; undefined to store nothing
 */
export function createArchiveHashes(folder: string | undefined, caches: MemoryCaches): ArchiveHashes {
  const checksums = createChecksums(folder, caches);
  return {
    async find({ etag, size }) {
      return (await checksums.find(etag, unparted(size)))?.[0];
    },
    async compute(archive, onChunk, signal) {
      const [whole] = await checksums.compute(archive, [unparted(archive.size)], onChunk, signal);
      if (whole === undefined) throw new RangeError('An archive has one hash');
      return whole[0];
    },
  };
}

import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskQuota } from '../blobs/disk-quota.ts';
import { replaceFile } from '../util/atomic-file.ts';
import { createLargeDocuments, type LargeDocuments, SMALL_DOCUMENT } from '../util/large-documents.ts';
import type { KeyValueStore, StoreKind } from './manifest-store.ts';

/** Bytes. */
const LARGE = 64 * 1024;

/**
 * Stores manifests and tags in files beside the blobs: `manifests/0c/0c1d…`, `tags/5e/5eaf…`.
 *
 * @param reserve makes room for the given number of bytes; false if that is impossible
 * @param large bounds the large files that are read at once; its own if absent
 */
export function createDiskStore(
  folder: string,
  reserve: DiskQuota['reserve'] = async () => true,
  large: LargeDocuments = createLargeDocuments(0),
): KeyValueStore {
  const contentOf = async (file: FileHandle): Promise<Buffer> => {
    const { size } = await file.stat();
    const content = await (size > SMALL_DOCUMENT ? large.read(() => file.readFile()) : file.readFile());
    const now = new Date();
    await file.utimes(now, now);
    return content;
  };
  const pathOf = (kind: StoreKind, name: string): string => join(folder, kind, name.slice(0, 2), name);
  return {
    async read(kind, name) {
      try {
        await using file = await open(pathOf(kind, name));
        return await contentOf(file);
      } catch {
        return undefined;
      }
    },
    async write(kind, name, content) {
      // The reservation is larger than most files, which are small. Without a reservation, large files could fill the
      // disk.
      if (content.length > LARGE && !(await reserve(content.length, () => {}))) return;
      await replaceFile(pathOf(kind, name), content);
    },
  };
}

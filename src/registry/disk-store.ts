import { readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskQuota } from '../blobs/disk-quota.ts';
import { replaceFile } from '../util/atomic-file.ts';
import type { KeyValueStore, ShelfKind } from './manifest-store.ts';

/** Bytes. */
const LARGE = 64 * 1024;

/**
 * Keeps what is remembered in files beside the blobs: `manifests/0c/0c1d…`, `tags/5e/5eaf…`.
 *
 * @param reserve makes room for so many bytes; false where there can be none
 */
export function createDiskStore(
  folder: string,
  reserve: DiskQuota['reserve'] = async () => true,
): KeyValueStore {
  const pathOf = (kind: ShelfKind, name: string): string => join(folder, kind, name.slice(0, 2), name);
  return {
    async read(kind, name) {
      const path = pathOf(kind, name);
      try {
        const content = await readFile(path);
        const now = new Date();
        await utimes(path, now, now);
        return content;
      } catch {
        return undefined;
      }
    },
    async write(kind, name, content) {
      // Most are far smaller, and no download waits for their room; those of the largest size could fill a disk.
      if (content.length > LARGE && !(await reserve(content.length, async () => {}))) return;
      await replaceFile(pathOf(kind, name), content);
    },
  };
}

import { createHash } from 'node:crypto';
import { readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';
import type { DiskQuota } from '../../blobs/disk-quota.ts';
import type { LayerTable } from '../../contents/layer-table.ts';
import { decodeTable, encodeTable } from '../../contents/table-codec.ts';
import { replaceFile } from '../../util/atomic-file.ts';
import { inSlices } from '../../util/in-slices.ts';

/** Keeps the tables of layers. */
export interface TableStore {
  /** Finds the table of a layer; undefined if it is unknown. */
  find(layer: LayerId, signal: AbortSignal): Promise<LayerTable | undefined>;
  /** Stores a table. A table that cannot be stored is made again when it is needed. */
  keep(layer: LayerId, table: LayerTable): Promise<void>;
}

/** A layer by its digest and that of its unpacked content. */
export interface LayerId {
  readonly digest: string;
  readonly diffId: string;
}

/** Maximum bytes of a table before compression. */
const STORED_MAX = 2 ** 30;
const [compress, decompress] = [promisify(zstdCompress), promisify(zstdDecompress)];

/** Stores nothing. */
export const storingNothing: TableStore = { find: async () => undefined, keep: async () => {} };

/**
 * Stores tables in files of the cache's folder, which count and are evicted as blobs are:
 *
 *     tables/5e/5eaf…     the table of one layer, compressed with zstd
 */
export function createDiskTables(folder: string, reserve: DiskQuota['reserve']): TableStore {
  const pathOf = ({ digest, diffId }: LayerId): string => {
    const name = createHash('sha256').update(`${digest} ${diffId}`).digest('hex');
    return join(folder, 'tables', name.slice(0, 2), name);
  };
  return {
    async find(layer, signal) {
      const path = pathOf(layer);
      const packed = await readFile(path, { signal }).catch(() => undefined);
      signal.throwIfAborted();
      if (packed === undefined) return undefined;
      const now = new Date();
      await utimes(path, now, now).catch(() => {});
      const stored = await decompress(packed, { maxOutputLength: STORED_MAX }).catch(() => undefined);
      const decoded = stored && (await inSlices(decodeTable(stored), signal));
      return decoded?.diffId === layer.diffId ? decoded.table : undefined;
    },
    async keep(layer, table) {
      const packed = await compress(encodeTable(table, layer.diffId));
      // Without the file, its layer is read again, also if the folder was removed.
      const hasRoom = await reserve(packed.length, () => {}).catch(() => false);
      if (hasRoom) await replaceFile(pathOf(layer), packed).catch(() => {});
    },
  };
}

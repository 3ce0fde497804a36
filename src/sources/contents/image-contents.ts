import { setTimeout as pause } from 'node:timers/promises';
import type { UnpackedImage } from '../../archive/rootfs.ts';
import type { FileTree } from '../../contents/file-tree.ts';
import { type LayerTable, tableBytes } from '../../contents/layer-table.ts';
import { mergeLayers, UnusableLayer } from '../../contents/merge-layers.ts';
import { detail } from '../../errors/details.ts';
import { type ErrorCode, ServiceError } from '../../errors.ts';
import type { BlobReader } from '../../oci/blob-reader.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { createGate, type Gate } from '../../util/gate.ts';
import { inSlices } from '../../util/in-slices.ts';
import { type Locks, NO_LOCK } from '../../util/lock.ts';
import type { MemoryCaches } from '../../util/memory-caches.ts';
import { createSingleFlight } from '../../util/single-flight.ts';
import type { LayerProgress } from '../image-source.ts';
import { type LayerLimits, layerInvalid, scanLayer } from './scan-layer.ts';
import type { LayerId, TableStore } from './table-store.ts';
import type { TreeMemory } from './tree-memory.ts';

/** An image whose layers can be read. */
export interface PackedImage {
  readonly layers: readonly Descriptor[];
  /** The digests of the unpacked layers; undefined for values that are not text. */
  readonly diffIds: readonly (string | undefined)[];
  readonly blobs: BlobReader;
}

/** Conditions under which layers are read for one request. */
export interface ReadingOptions {
  /** The client whose share of memory the files count toward; undefined for a command. */
  readonly client?: string | undefined;
  /** Maximum bytes of layers that may be read because their tables are unknown; unlimited if absent. */
  readonly onDemand?: number | undefined;
  /**
   * Called before layers are read.
   *
   * @param bytes the size of the layers
   * @returns a function that sees each unpacked chunk, to count its bytes
   */
  readonly admit?: ((bytes: number) => Promise<((chunk: Uint8Array) => void) | undefined>) | undefined;
  /** Called with the progress of all layers. */
  readonly onProgress?: ((layers: readonly LayerProgress[]) => void) | undefined;
}

/** Provides the files of images. It reads each layer once, for all requests and processes that share the cache. */
export interface ImageContents {
  /**
   * Merges the files of an image, and reads the layers whose tables are unknown.
   *
   * @throws ServiceError `layer-invalid`, `contents-too-large`, `contents-unread`, `overloaded`, or why a layer cannot
   *   be read
   */
  open(image: PackedImage, options: ReadingOptions, signal: AbortSignal): Promise<UnpackedImage>;
}

export interface ImageContentsOptions {
  readonly tables: TableStore;
  /** Limits of one layer, and of all layers of an image together. */
  readonly limits: LayerLimits;
  /** Locks that all processes with the same tables share. */
  readonly locks: Pick<Locks, 'take'>;
  /** The number of layers that are read at the same time. */
  readonly scansAtOnce: number;
  /** The gate for that number of layers, if others share it. */
  readonly gate?: Gate;
  readonly caches: MemoryCaches;
  readonly memory: TreeMemory;
}

/** Bytes of cached trees with their tables, enough for an image with 300,000 files. */
const TREES = 96 * 2 ** 20;
/** Bytes of cached tables of other layers. */
const TABLES = 32 * 2 ** 20;
/** Maximum waiting images per layer that is read at once. */
const QUEUE = 16;
const RETRY_AFTER_S = 10;
/** Milliseconds between two polls of the lock of another process. */
const LOOK_MS = 200;
const REFUSALS_MS = 10 * 60_000;
const REFUSALS_BYTES = 256 * 1024;

export function createImageContents({
  tables,
  limits,
  locks,
  scansAtOnce,
  gate = createGate(scansAtOnce),
  caches,
  memory,
}: ImageContentsOptions): ImageContents {
  const trees = caches.open<FileTree>({ name: 'file-trees', limit: TREES, weigh: ({ bytes }) => bytes });
  const known = caches.open<LayerTable>({ name: 'layer-tables', limit: TABLES, weigh: tableBytes });
  const refusals = caches.open<{ readonly error: ServiceError }>({
    ...{ name: 'refused-layers', limit: REFUSALS_BYTES, ttl: REFUSALS_MS, weigh: () => 1024 },
  });
  const merging = createSingleFlight<FileTree>();
  const scanning = createSingleFlight<LayerTable>(isPersonal);
  /** The number of images whose layers are read, or wait to be read. */
  let reading = 0;

  const find = async (layer: LayerId, signal: AbortSignal): Promise<LayerTable | undefined> => {
    const key = keyOf(layer);
    const found = known.get(key) ?? (await tables.find(layer, signal));
    if (found !== undefined) known.set(key, found);
    return found;
  };

  /** Lets one of all processes read the layer; the others wait for its table. */
  const scanOnce = async (layer: LayerId, scan: () => Promise<LayerTable>, signal: AbortSignal) => {
    for (;;) {
      using lock = await locks.take(`contents ${keyOf(layer)}`).catch(() => NO_LOCK);
      const found = await find(layer, signal);
      if (found !== undefined) return found;
      if (lock !== undefined) {
        const table = await scan();
        known.set(keyOf(layer), table);
        await tables.keep(layer, table);
        return table;
      }
      await pause(LOOK_MS, undefined, { signal });
    }
  };

  /** Calls of all requests that wait for a layer. */
  const watchers = new Map<string, Set<Watcher>>();

  const read = async (
    { layer, id }: Row,
    blobs: BlobReader,
    watcher: Watcher,
    signal: AbortSignal,
  ): Promise<LayerTable> => {
    const key = keyOf(id);
    const refused = refusals.get(key);
    if (refused !== undefined) throw refused.error;
    const own = watchers.get(key) ?? new Set();
    watchers.set(key, own.add(watcher));
    const all: Watcher = {
      packed: (bytes) => own.forEach((one) => void one.packed(bytes)),
      unpacked: (chunk) => own.forEach((one) => void one.unpacked(chunk)),
    };
    const work = async (shared: AbortSignal): Promise<LayerTable> => {
      const scan = async (): Promise<LayerTable> => {
        const packed = await blobs.read(layer, undefined, shared);
        packed.on('data', ({ length }: Buffer) => all.packed(length)).pause();
        return scanLayer(packed, id, limits, all.unpacked);
      };
      try {
        return await gate.run(() => scanOnce(id, scan, shared), shared);
      } catch (error) {
        if (error instanceof ServiceError && LASTING.has(error.code)) refusals.set(key, { error });
        throw error;
      }
    };
    try {
      return await scanning(key, work, signal);
    } finally {
      own.delete(watcher);
      if (own.size === 0) watchers.delete(key);
    }
  };

  const tablesOf = async (
    { layers, diffIds, blobs }: PackedImage,
    { onDemand = Number.POSITIVE_INFINITY, admit, onProgress }: ReadingOptions,
    signal: AbortSignal,
  ): Promise<LayerTable[]> => {
    const rows: Row[] = [];
    for (const [at, layer] of layers.entries()) {
      const id = { digest: layer.digest, diffId: diffIds[at] ?? '' };
      rows.push({ layer, id, table: await find(id, signal) });
    }
    const missing = new Map(rows.flatMap(({ layer, id, table }) => (table ? [] : [[keyOf(id), layer.size]])));
    const bytes = [...missing.values()].reduce((sum, size) => sum + size, 0);
    if (bytes > onDemand) throw contentsUnread(bytes);
    const unpacked = missing.size === 0 ? undefined : await admit?.(bytes);
    const progress = rows.map(({ layer: { digest: id, size: total }, table }) =>
      table === undefined
        ? { id, total, current: 0, status: 'Waiting' }
        : { id, total, current: total, status: 'Complete' },
    );
    const complete = async (row: Row, at: number): Promise<LayerTable> => {
      if (row.table !== undefined) return row.table;
      const own = { id: row.layer.digest, total: row.layer.size, current: 0, status: 'Reading' };
      progress[at] = own;
      const watcher: Watcher = {
        packed(more) {
          own.current += more;
          onProgress?.(progress);
        },
        unpacked: (chunk) => unpacked?.(chunk),
      };
      const table = await read(row, blobs, watcher, ended);
      progress[at] = { ...own, current: own.total, status: 'Complete' };
      onProgress?.(progress);
      return table;
    };
    const failed = new AbortController();
    const ended = AbortSignal.any([signal, failed.signal]);
    if (missing.size > 0 && reading >= scansAtOnce * QUEUE) throw tooManyScans();
    reading += 1;
    try {
      return await Promise.all(rows.map(complete));
    } catch (error) {
      failed.abort();
      throw error;
    } finally {
      reading -= 1;
    }
  };

  const merge = async (image: PackedImage, tables: LayerTable[], signal: AbortSignal): Promise<FileTree> => {
    const sum = (of: (table: LayerTable) => number): number => tables.reduce((all, one) => all + of(one), 0);
    if (sum(({ count }) => count) > limits.entries) throw imageTooLarge('files', limits.entries);
    if (sum(({ unpackedSize }) => unpackedSize) > limits.unpackedSize)
      throw imageTooLarge('unpacked', limits.unpackedSize);
    if (treeBytes(tables) > memory.limit) throw imageTooLarge('metadata', memory.limit);
    try {
      return await inSlices(mergeLayers(tables), signal);
    } catch (error) {
      if (!(error instanceof UnusableLayer)) throw error;
      throw layerInvalid(image.layers[error.layer]?.digest ?? '', error.reason);
    }
  };

  return {
    async open(image, options, signal) {
      const { layers, diffIds } = image;
      const key = layers.map(({ digest }, at) => `${digest} ${diffIds[at]}`).join(' ');
      const known = trees.get(key);
      const tables = known === undefined ? await tablesOf(image, options, signal) : [];
      memory.hold(key, known?.bytes ?? treeBytes(tables), options.client, signal);
      const tree = known ?? (await merging(key, (shared) => merge(image, tables, shared), signal));
      trees.set(key, tree);
      return { layers, diffIds: diffIds.map((id) => id ?? ''), tree };
    },
  };
}

/** A layer of an image, with its table if it is known. */
interface Row {
  readonly layer: Descriptor;
  readonly id: LayerId;
  readonly table: LayerTable | undefined;
}

/** Sees the bytes of a layer while it is read. */
interface Watcher {
  packed(bytes: number): void;
  unpacked(chunk: Uint8Array): void;
}

/** Errors that a retry would get again. */
const LASTING: ReadonlySet<ErrorCode> = new Set(['layer-invalid', 'contents-too-large']);

function keyOf({ digest, diffId }: LayerId): string {
  return `${digest} ${diffId}`;
}

/** Bytes of a file in a tree, beside its row in a table. */
const NODE_BYTES = 140;

/** Estimates the bytes of a tree before the merge. */
function treeBytes(tables: readonly LayerTable[]): number {
  return tables.reduce((sum, table) => sum + tableBytes(table) + table.count * NODE_BYTES, 0);
}

/** Tells whether an error concerns only the client that started the work, and not the waiting clients. */
function isPersonal(error: unknown): boolean {
  return error instanceof ServiceError && (error.code === 'daily-bytes-used' || error.code === 'overloaded');
}

/** Creates the error for layers that only a download may read. @param bytes the size of the layers */
export function contentsUnread(bytes: number): ServiceError {
  return new ServiceError('contents-unread', detail('contents-unread', { size: bytes }), {
    retryAfter: RETRY_AFTER_S,
  });
}

function imageTooLarge(row: 'files' | 'unpacked' | 'metadata', limit: number): ServiceError {
  return new ServiceError('contents-too-large', detail(`image-${row}-exceeded`, { limit }));
}

function tooManyScans(): ServiceError {
  return new ServiceError('overloaded', detail('scans-exceeded', {}), { retryAfter: RETRY_AFTER_S });
}

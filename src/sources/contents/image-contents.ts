import { setTimeout as pause } from 'node:timers/promises';
import type { UnpackedImage } from '../../archive/rootfs.ts';
import { sumOf } from '../../contents/columns.ts';
import type { FileTree } from '../../contents/file-tree.ts';
import { type LayerTable, tableBytes } from '../../contents/layer-table.ts';
import { mergeLayers, UnusableLayer } from '../../contents/merge-layers.ts';
import { UnusableToc } from '../../contents/stated-table.ts';
import { detail } from '../../errors/details.ts';
import { type ErrorCode, ServiceError } from '../../errors.ts';
import type { BlobReader } from '../../oci/blob-reader.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { isDigest } from '../../oci/digest.ts';
import { tocOf } from '../../oci/layer-toc.ts';
import { createGate, type Gate } from '../../util/gate.ts';
import { inSlices } from '../../util/in-slices.ts';
import { type Locks, NO_LOCK } from '../../util/lock.ts';
import type { MemoryCaches } from '../../util/memory-caches.ts';
import { createSingleFlight } from '../../util/single-flight.ts';
import type { LayerProgress } from '../image-source.ts';
import { readToc, type TocRequest } from './read-toc.ts';
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
  /**
   * Merges the files of an image for a list. If a layer was not read and has a table of contents, only that table is
   * read. Its digest is verified, but nothing proves that the layer contains the same files. Archives must therefore
   * never depend on the table.
   *
   * @throws ServiceError as {@link ImageContents.open} does
   */
  list(image: PackedImage, options: ReadingOptions, signal: AbortSignal): Promise<ListedImage>;
}

/** The files of an image for a list. */
export interface ListedImage {
  readonly tree: FileTree;
  /** True if all layers were read; false if a table of contents in a layer states its files. */
  readonly isRead: boolean;
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

/** Bytes of cached trees with their tables, enough for an image with 700,000 files. */
const TREES = 96 * 2 ** 20;
/** Bytes of cached tables of other layers. */
const TABLES = 32 * 2 ** 20;
/** Maximum layers of an image whose tables of contents are read, each by up to two requests. Docker loads at most 127. */
const TOCS_MAX = 128;
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
  const refusals = caches.open<{ readonly error: Error }>({
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
        const onPacked = ({ length }: Uint8Array): void => all.packed(length);
        return scanLayer(packed, id, limits, { onPacked, onUnpacked: all.unpacked });
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

  const findRows = async (image: PackedImage, signal: AbortSignal): Promise<Row[]> => {
    const ids = idsOf(image);
    const rows: Row[] = [];
    for (const [at, layer] of image.layers.entries()) {
      const id = ids[at] ?? { digest: layer.digest, diffId: '' };
      rows.push({ layer, id, table: await find(id, signal) });
    }
    return rows;
  };

  /** Counts a request among those whose layers are read, while work runs. */
  const whileReading = async <T>(work: () => Promise<T>): Promise<T> => {
    if (reading >= scansAtOnce * QUEUE) throw tooManyScans();
    reading += 1;
    try {
      return await work();
    } finally {
      reading -= 1;
    }
  };

  /** Returns the row with the table of contents in its layer, or the same row if the layer has no usable table. */
  const withStated = async (row: Row, blobs: BlobReader, admission: Admission, signal: AbortSignal) => {
    const toc = row.table === undefined ? tocOf(row.layer) : undefined;
    if (toc === undefined) return row;
    const id = { digest: `${TOC}${row.id.digest}`, diffId: toc.digest };
    const key = keyOf(id);
    if (refusals.get(key) !== undefined) return row;
    const work = async (shared: AbortSignal): Promise<LayerTable> => {
      const { entries } = limits;
      const request = { ...admission, layer: row.layer, toc, blobs, entries };
      const table = await gate.run(() => readToc(request, shared), shared);
      known.set(key, table);
      await tables.keep(id, table);
      return table;
    };
    try {
      const table = (await find(id, signal)) ?? (await whileReading(() => scanning(key, work, signal)));
      return { layer: row.layer, id, table };
    } catch (error) {
      if (signal.aborted || isPersonal(error)) throw error;
      if (error instanceof UnusableToc) refusals.set(key, { error });
      // Reading the layer reports the failure of the registry, if that is the cause.
      return row;
    }
  };

  /** Reads the layers of rows without a table. */
  const complete = async (
    rows: readonly Row[],
    blobs: BlobReader,
    { onDemand = Number.POSITIVE_INFINITY, admit, onProgress }: ReadingOptions,
    signal: AbortSignal,
  ): Promise<LayerTable[]> => {
    const missing = new Map(rows.flatMap(({ layer, id, table }) => (table ? [] : [[keyOf(id), layer.size]])));
    const bytes = [...missing.values()].reduce((sum, size) => sum + size, 0);
    if (bytes > onDemand) throw contentsUnread(bytes);
    const unpacked = missing.size === 0 ? undefined : await admit?.(bytes);
    const progress = rows.map(({ layer: { digest: id, size: total }, table }) =>
      table === undefined
        ? { id, total, current: 0, status: 'Waiting' }
        : { id, total, current: total, status: 'Complete' },
    );
    const readRow = async (row: Row, at: number): Promise<LayerTable> => {
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
    const readRows = async (): Promise<LayerTable[]> => {
      try {
        return await Promise.all(rows.map(readRow));
      } catch (error) {
        failed.abort();
        throw error;
      }
    };
    return missing.size === 0 ? readRows() : whileReading(readRows);
  };

  const merge = async (image: PackedImage, tables: LayerTable[], signal: AbortSignal): Promise<FileTree> => {
    const sum = (of: (table: LayerTable) => number): number => tables.reduce((all, one) => all + of(one), 0);
    if (sum(({ count }) => count) > limits.entries) throw imageTooLarge('files', limits.entries);
    if (sum(largestSize) > limits.unpackedSize) throw imageTooLarge('unpacked', limits.unpackedSize);
    if (treeBytes(tables) > memory.limit) throw imageTooLarge('metadata', memory.limit);
    try {
      return await inSlices(mergeLayers(tables), signal);
    } catch (error) {
      if (!(error instanceof UnusableLayer)) throw error;
      throw layerInvalid(image.layers[error.layer]?.digest ?? '', error.reason);
    }
  };

  /** @param tablesOf reads the tables if the tree is unknown */
  const treeOf = async (
    image: PackedImage,
    ids: readonly LayerId[],
    tablesOf: () => Promise<LayerTable[]>,
    client: string | undefined,
    signal: AbortSignal,
  ): Promise<FileTree> => {
    const key = ids.map(keyOf).join(' ');
    const kept = trees.get(key);
    const found = kept === undefined ? await tablesOf() : [];
    memory.hold(key, kept?.bytes ?? treeBytes(found), client, signal);
    const tree = kept ?? (await merging(key, (shared) => merge(image, found, shared), signal));
    trees.set(key, tree);
    return tree;
  };

  return {
    async open(image, options, signal) {
      const tablesOf = async (): Promise<LayerTable[]> =>
        complete(await findRows(image, signal), image.blobs, options, signal);
      const ids = idsOf(image);
      const tree = await treeOf(image, ids, tablesOf, options.client, signal);
      return { layers: image.layers, diffIds: ids.map(({ diffId }) => diffId), tree };
    },
    async list(image, options, signal) {
      const { blobs } = image;
      const admission = admissionOf(image, options);
      const rows: Row[] = [];
      for (const row of await findRows(image, signal))
        rows.push(rows.length < TOCS_MAX ? await withStated(row, blobs, admission, signal) : row);
      const ids = rows.map(({ id }) => id);
      const tablesOf = (): Promise<LayerTable[]> => complete(rows, blobs, options, signal);
      const tree = await treeOf(image, ids, tablesOf, options.client, signal);
      return { tree, isRead: ids.every(({ digest }) => !digest.startsWith(TOC)) };
    },
  };
}

/** Returns the larger size: of the unpacked layer, or of all its files together. A sparse file can state any size. */
function largestSize({ unpackedSize, columns }: LayerTable): number {
  return Math.max(unpackedSize, sumOf(columns.sizes));
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

/** The prefix of the keys of tables of contents. No digest begins so, and archives therefore never use these tables. */
const TOC = 'toc ';

/** Decides whether a request may read tables of contents, and counts their bytes. */
type Admission = Pick<TocRequest, 'admit' | 'onUnpacked'>;

/** Bounds the bytes of all tables of contents of a request as if they were layers. */
function admissionOf({ layers }: PackedImage, options: ReadingOptions): Admission {
  const { onDemand = Number.POSITIVE_INFINITY, admit } = options;
  let left = onDemand;
  let count: ((chunk: Uint8Array) => void) | undefined;
  let isAdmitted = false;
  return {
    async admit(bytes) {
      left -= bytes;
      if (left < 0) throw contentsUnread(layers.reduce((sum, { size }) => sum + size, 0));
      if (!isAdmitted) count = await admit?.(bytes);
      isAdmitted = true;
    },
    onUnpacked: (chunk) => count?.(chunk),
  };
}

/** A text that is not a digest fits no layer, and could otherwise look like the keys of several. */
function idsOf({ layers, diffIds }: PackedImage): LayerId[] {
  return layers.map(({ digest }, at) => {
    const diffId = diffIds[at];
    return { digest, diffId: isDigest(diffId) ? diffId : '' };
  });
}

/** Errors that a retry would get again. */
const LASTING: ReadonlySet<ErrorCode> = new Set(['layer-invalid', 'contents-too-large']);

function keyOf({ digest, diffId }: LayerId): string {
  return `${digest} ${diffId}`;
}

/** Bytes of a file in a tree, beside its row in a table. */
const NODE_BYTES = 100;

/** Estimates the bytes of a tree before the merge. */
function treeBytes(tables: readonly LayerTable[]): number {
  return tables.reduce((sum, table) => sum + tableBytes(table) + table.count * NODE_BYTES, 0);
}

/** Tells whether an error concerns only the client that started the work, and not the waiting clients. */
function isPersonal(error: unknown): boolean {
  return error instanceof ServiceError && PERSONAL.has(error.code);
}

const PERSONAL: ReadonlySet<ErrorCode> = new Set(['daily-bytes-used', 'overloaded', 'contents-unread']);

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

import { type FileHandle, utimes } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { isOutage } from '../errors.ts';
import { type Approach, type BlobReader, type Demand, readPart } from '../oci/blob-reader.ts';
import type { ByteRange, Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { isForeignLayer } from '../oci/manifest.ts';
import { type BufferPool, createBufferPool } from '../util/buffer-pool.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';
import { relay } from '../util/streams.ts';
import { BlobFetch } from './blob-fetch.ts';
import { openBlobFiles } from './blob-files.ts';
import { type AdaptiveChunkSizes, createAdaptiveChunkSizes } from './chunk-size.ts';
import { createDiskQuota, type DiskQuota } from './disk-quota.ts';
import type { FetchedFile } from './fetched-file.ts';
import { FileStream, type GrowingFile, StorageFailure } from './growing-file.ts';
import { createPins } from './pins.ts';
import { withoutStart } from './shared-blobs.ts';
import { verifiedReader } from './verified-reader.ts';

/** Stores verified blobs on the disk by digest. It fetches each blob once for all clients and repositories. */
export interface BlobCache {
  /**
   * Wraps a reader with the cache.
   *
   * @param registry the registry of the reader; it identifies shared fetches, and limits those that run ahead
   */
  before(source: BlobReader, registry: string): BlobReader;
  /** Reads stored blobs from the cache, and all others from the source, without storing them. */
  stored(source: BlobReader): BlobReader;
  /** For other files in the same folder, which count like blobs and are evicted like them. */
  readonly storage: Storage;
  /** Ends every fetch. The received bytes stay, so that a later fetch resumes from them. */
  close(): Promise<void>;
}

/** The folder of the cache with its limit, for other parts that store files there. */
export interface Storage extends DiskQuota {
  readonly folder: string;
  readonly buffers: BufferPool;
  readonly paces: AdaptiveChunkSizes;
  /** Keeps a file from eviction until the returned function is called. */
  hold(path: string): () => void;
}

export interface BlobCacheOptions {
  readonly folder: string;
  /** Bytes. */
  readonly limit: number;
  /** Maximum bytes that a fetch may be ahead of the furthest reader of its blob; unlimited if absent. */
  readonly readAhead?: number;
  /** Maximum milliseconds that a range waits for a running fetch to reach it; 5 000 if absent. */
  readonly rangePatience?: number;
  readonly log: CacheLog;
  /** The list of in-memory caches. */
  readonly caches?: MemoryCaches;
}

export interface CacheLog {
  /** Called if a blob on the disk has changed since it was verified. */
  damaged(digest: Digest): void;
  /** Called for each read, with the bytes and whether the cache has them. */
  read?(result: 'hit' | 'miss', bytes: number): void;
  /** Called if a blob cannot be stored, so that it passes through. */
  uncached(digest: Digest, reason: Error): void;
}

/** After a longer wait, clients would consider their connections dead. */
const RANGE_PATIENCE_MS = 5_000;
/** Bytes of unused buffers that are kept for the next chunks. Few are unused, because readers reuse them at once. */
const BUFFERS_KEPT = 1024 * 1024;
/** Maximum bytes that all fetches together keep in memory for readers that follow closely. */
const RECENT_BYTES_LIMIT = 16 * 1024 * 1024;
/** Maximum concurrent fetches from one registry at which a fetch ahead may still start. */
const FETCHES_PER_REGISTRY = 8;

/** Opens the cache in its folder, and creates the folder if it is missing. */
export async function openBlobCache({
  folder,
  limit,
  readAhead = Number.MAX_SAFE_INTEGER,
  rangePatience = RANGE_PATIENCE_MS,
  log,
  caches,
}: BlobCacheOptions): Promise<BlobCache> {
  const files = await openBlobFiles({ folder, onDamage: log.damaged });
  const buffers = createBufferPool(BUFFERS_KEPT);
  caches?.list({ name: 'file-buffers', limit: BUFFERS_KEPT, bytes: buffers.kept, clear: buffers.clear });
  const paces = createAdaptiveChunkSizes();
  const recentBudget = { limit: RECENT_BYTES_LIMIT, held: 0 };
  caches?.list({ name: 'recent-bytes', limit: RECENT_BYTES_LIMIT, bytes: () => recentBudget.held });
  // The key includes the size and the upstream, because a wrong descriptor or another host can yield other bytes.
  const fetches = new Map<string, BlobFetch>();
  const busy = new Map<string, number>();
  const inUse = createPins();
  const room = createDiskQuota({ files, limit, isInUse: inUse.has });

  const begin = (blob: Descriptor, source: BlobReader, registry: string): BlobFetch => {
    add(busy, registry, 1);
    const supplier = supplierOf(blob, registry);
    const key = files.incomingPath(blob, supplier);
    // Other processes see from its lock that it is in use.
    const releases = [files.blobPath(blob.digest), key].map((path) => inUse.hold(path));
    const onEnd = (error: Error | undefined): void => {
      if (fetches.get(key) === fetch) fetches.delete(key);
      add(busy, registry, -1);
      for (const release of releases) release();
      if (error instanceof StorageFailure) log.uncached(blob.digest, error);
    };
    const fetch = new BlobFetch({
      blob,
      supplier,
      files,
      room,
      buffers,
      recentBudget,
      source,
      readAhead,
      onEnd,
    });
    fetches.set(key, fetch);
    return fetch;
  };
  const running = (blob: Descriptor, registry: string): BlobFetch | undefined =>
    fetches.get(files.incomingPath(blob, supplierOf(blob, registry)));
  /** The number of bytes of a blob that are already stored. */
  const reach = async (blob: Descriptor, registry: string): Promise<number> => {
    const written = await files.incomingLength(blob, supplierOf(blob, registry));
    return Math.max(running(blob, registry)?.content.received ?? 0, written);
  };
  const openBlob = async (blob: Descriptor): Promise<FileHandle | undefined> => {
    try {
      return await files.open(blob);
    } catch {
      // The fetch fails for the same reason, reports it, and lets the blob pass through.
      return undefined;
    }
  };

  const holdBlob = (digest: Digest): (() => void) =>
    inUse.hold(files.blobPath(digest), () => files.touch(digest));

  const readHit = (file: FileHandle, blob: Descriptor, range: ByteRange, signal: AbortSignal): Readable => {
    const release = holdBlob(blob.digest);
    const onClose = (): void => {
      release();
      file.close().catch(() => {});
    };
    const source = { file, available: blob.size, failure: undefined, onChange: () => () => {} };
    return new FileStream({ source, range, buffers, paces, signal, onClose });
  };

  const readStored = async (
    blob: Descriptor,
    range: ByteRange,
    signal: AbortSignal,
  ): Promise<Readable | undefined> => {
    const file = await openBlob(blob);
    return file && readHit(file, blob, range, signal);
  };

  /** Joins the fetch of a blob, or starts it; undefined if the blob cannot be stored. */
  const joinFetch = async (
    blob: Descriptor,
    source: BlobReader,
    registry: string,
    demand: Demand,
    signal: AbortSignal,
  ): Promise<{ fetch: BlobFetch; leave: () => void } | undefined> => {
    for (;;) {
      const known = running(blob, registry);
      const fetch = known ?? begin(blob, source, registry);
      try {
        return { fetch, leave: await fetch.join(demand, signal) };
      } catch (error) {
        if (error instanceof StorageFailure) return undefined;
        // A blob that another repository lacks may exist in this one, but an outage affects both. Without this check,
        // each waiting client would use up all tries in turn.
        const isShared = isOutage(error) && !error.isFinal;
        if (known === undefined || signal.aborted || isShared) throw error;
      }
    }
  };

  /**
   * Reads the bytes of a fetch and, if the disk fails, the rest without the cache.
   *
   * @param guarded true if no byte may be read before the whole blob is verified
   */
  const readMiss = async (
    blob: Descriptor,
    range: ByteRange,
    source: BlobReader,
    registry: string,
    signal: AbortSignal,
    guarded: boolean,
    onFetched: Demand['onFetched'],
  ): Promise<Readable> => {
    const reader = { position: guarded ? Number.POSITIVE_INFINITY : range.start, onFetched };
    const joined = await joinFetch(blob, source, registry, reader, signal);
    const release = holdBlob(blob.digest);
    let isLeft = false;
    const onClose = (): void => {
      if (isLeft) return;
      isLeft = true;
      release();
      joined?.leave();
    };
    const parts = async function* (ended: AbortSignal): AsyncGenerator<Readable, void> {
      let { start: position } = range;
      if (joined !== undefined) {
        const { content } = joined.fetch;
        const growing = guarded ? onceVerified(content) : content;
        const onMove = (moved: number): void => {
          reader.position = Math.max(reader.position, moved);
          joined.fetch.moved();
        };
        const stream = new FileStream({
          ...{ source: growing, range, buffers, paces, signal: ended, onMove, onClose },
        });
        yield stream;
        position = stream.position;
      }
      if (position === range.end) return;
      // The disk failed. A request for a whole blob reads it from the start again, because only then is it verified.
      const isWhole = range.start === 0 && range.end === blob.size;
      if (isWhole) yield withoutStart(await source.read(blob, undefined, ended), position);
      else {
        const rest = guarded ? verifiedReader(source) : source;
        yield await rest.read(blob, { start: position, end: range.end }, ended);
      }
    };
    // A stream that is never read needs this listener, too, because its generator never runs.
    return relay(parts, signal).once('close', onClose);
  };

  /**
   * Joins a running fetch that will soon reach a position, and waits until it does.
   *
   * @returns a function that leaves the fetch; undefined if the position is too far ahead
   */
  const joinBefore = async (
    fetch: BlobFetch | undefined,
    demand: Demand,
    signal: AbortSignal,
  ): Promise<(() => void) | undefined> => {
    const { position } = demand;
    if (fetch === undefined || position - fetch.content.received > readAhead) return undefined;
    const patience = AbortSignal.any([signal, AbortSignal.timeout(rangePatience)]);
    let leave: (() => void) | undefined;
    try {
      leave = await fetch.join(demand, patience);
      await fetch.content.untilAvailable(position, patience);
      return leave;
    } catch {
      leave?.();
      signal.throwIfAborted();
      return undefined;
    }
  };

  const fetchAhead = async (
    blob: Descriptor,
    source: BlobReader,
    registry: string,
    approach: Approach,
    signal: AbortSignal,
  ): Promise<void> => {
    const isBusy = (): boolean => (busy.get(registry) ?? 0) >= FETCHES_PER_REGISTRY;
    if (isBusy()) return;
    // Opening the file marks it as used, so that it is not evicted before it is read.
    const kept = await openBlob(blob);
    await kept?.close();
    if (kept !== undefined || isBusy() || signal.aborted) return;
    const fetch = running(blob, registry) ?? begin(blob, source, registry);
    await fetch.attend(approach, signal).catch((error: unknown) => {
      // A blob that cannot be stored is read without the cache when its turn comes.
      if (!(error instanceof StorageFailure)) throw error;
    });
  };

  return {
    before: (source, registry) => ({
      async read(blob, range = { start: 0, end: blob.size }, signal, onFetched) {
        const file = await openBlob(blob);
        log.read?.(file === undefined ? 'miss' : 'hit', range.end - range.start);
        if (file !== undefined) return readHit(file, blob, range, signal);
        const readHere = (): Promise<Readable> =>
          readMiss(blob, range, source, registry, signal, false, onFetched);
        if (range.start === 0 || range.start <= (await reach(blob, registry))) return readHere();
        const demand = { position: range.start, onFetched };
        const leave = await joinBefore(running(blob, registry), demand, signal);
        if (leave !== undefined) return readHere().finally(leave);
        // A fetch may have stored the blob since the first check.
        return (await readStored(blob, range, signal)) ?? source.read(blob, range, signal);
      },

      async readVerified(blob, range = { start: 0, end: blob.size }, signal, onFetched) {
        const file = await openBlob(blob);
        log.read?.(file === undefined ? 'miss' : 'hit', range.end - range.start);
        if (file !== undefined) return readHit(file, blob, range, signal);
        return readMiss(blob, range, source, registry, signal, true, onFetched);
      },

      async readPart(blob, range, signal) {
        return (await readStored(blob, range, signal)) ?? readPart(source, blob, range, signal);
      },

      prefetch(blob, approach, signal) {
        return fetchAhead(blob, source, registry, approach, signal);
      },
    }),

    stored: (source) => ({
      async read(blob, range = { start: 0, end: blob.size }, signal, onFetched) {
        return (await readStored(blob, range, signal)) ?? source.read(blob, range, signal, onFetched);
      },
    }),

    storage: {
      ...{ folder, buffers, paces },
      reserve: room.reserve,
      hold: (path) => inUse.hold(path, () => utimes(path, new Date(), new Date())),
    },

    async close() {
      await Promise.all([...fetches.values()].map((fetch) => fetch.close()));
    },
  };
}

/** Reads a file once the fetch has verified all of it. */
function onceVerified(content: FetchedFile): GrowingFile {
  return {
    get file() {
      return content.file;
    },
    get available() {
      return content.isVerified ? content.available : 0;
    },
    get failure() {
      return content.failure;
    },
    onChange: (call) => content.onChange(call),
  };
}

/** Names the upstream of a blob: its registry and, for a foreign layer, also the URLs that the image states. */
function supplierOf(blob: Descriptor, registry: string): string {
  return isForeignLayer(blob) ? [registry, ...(blob.urls ?? [])].join(' ') : registry;
}

function add(counts: Map<string, number>, key: string, more: number): void {
  const count = (counts.get(key) ?? 0) + more;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}

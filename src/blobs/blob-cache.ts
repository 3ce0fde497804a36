import { type FileHandle, utimes } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { isOutage } from '../errors.ts';
import type { Approach, BlobReader, Demand } from '../oci/blob-reader.ts';
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

/**
 * Keeps blobs on the disk, verified, by their digests: each is fetched once from a registry, for whoever asks, from
 * whatever repository.
 */
export interface BlobCache {
  /**
   * Puts the cache before a reader.
   *
   * @param registry the registry behind it, whose fetches of one blob are one, and are bounded where they go ahead
   */
  before(source: BlobReader, registry: string): BlobReader;
  /** Reads blobs that are stored, and all others from the source, which stores nothing. */
  stored(source: BlobReader): BlobReader;
  /** For other files in the same folder, which count like blobs and are evicted like them. */
  readonly storage: Storage;
  /** Ends every fetch. The received bytes stay, so that a later fetch resumes from them. */
  close(): Promise<void>;
}

/** The folder of the cache with its limit, for whoever keeps files there. */
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
  /** A blob on the disk is not what it was when it was verified. */
  damaged(digest: Digest): void;
  /** Bytes of a blob were asked for, and are here or not. */
  read?(result: 'hit' | 'miss', bytes: number): void;
  /** A blob cannot be kept and passes through. */
  uncached(digest: Digest, reason: Error): void;
}

/** With a longer wait, clients would take their connections for dead. */
const RANGE_PATIENCE_MS = 5_000;
/** Bytes of buffers that lie ready for the next chunk. */
const BUFFERS_KEPT = 4 * 1024 * 1024;
/** Maximum bytes of all fetches that stay in memory for readers that keep up. */
const RECENT_BYTES_LIMIT = 16 * 1024 * 1024;
/** How many blobs of one registry are fetched at once for the fetching ahead to go on. */
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
  // By digest, size and supplier: what a wrong descriptor asks for is another thing, and so is what a stranger sends.
  const fetches = new Map<string, BlobFetch>();
  const busy = new Map<string, number>();
  const inUse = createPins();
  const room = createDiskQuota({ files, limit, isInUse: inUse.has });

  const begin = (blob: Descriptor, source: BlobReader, registry: string): BlobFetch => {
    add(busy, registry, 1);
    const supplier = supplierOf(blob, registry);
    const key = files.incomingPath(blob, supplier);
    // To other processes, its lock tells it.
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
  /** How much of a blob is there already. */
  const reach = async (blob: Descriptor, registry: string): Promise<number> => {
    const written = await files.incomingLength(blob, supplierOf(blob, registry));
    return Math.max(running(blob, registry)?.content.received ?? 0, written);
  };
  const openBlob = async (blob: Descriptor): Promise<FileHandle | undefined> => {
    try {
      return await files.open(blob);
    } catch {
      // The fetch meets the same obstacle, tells it, and lets the blob pass through.
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

  /** Joins the fetch of a blob, or begins it; undefined where it cannot be kept. */
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
   * Reads along with a fetch and, where the disk fails, the rest past the cache.
   *
   * @param guarded true if nothing may be read of the blob before all of it is verified
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
      // The disk failed. A whole blob is read whole again, since only so it is verified.
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
    // Opened, it counts as used now, so that it stays until it is read.
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
        if (leave === undefined) return source.read(blob, range, signal);
        return readHere().finally(leave);
      },

      async readVerified(blob, range = { start: 0, end: blob.size }, signal, onFetched) {
        const file = await openBlob(blob);
        log.read?.(file === undefined ? 'miss' : 'hit', range.end - range.start);
        if (file !== undefined) return readHit(file, blob, range, signal);
        return readMiss(blob, range, source, registry, signal, true, onFetched);
      },

      prefetch(blob, approach, signal) {
        return fetchAhead(blob, source, registry, approach, signal);
      },
    }),

    stored: (source) => ({
      async read(blob, range = { start: 0, end: blob.size }, signal, onFetched) {
        const file = await openBlob(blob);
        return file === undefined
          ? source.read(blob, range, signal, onFetched)
          : readHit(file, blob, range, signal);
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

/** All of a file that a fetch fills, or nothing. */
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

import type { FileHandle } from 'node:fs/promises';
import { pipeline, type Readable, Transform } from 'node:stream';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { ByteRange, Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { relay } from '../streams.ts';
import { BlobFetch } from './blob-fetch.ts';
import { openBlobFiles } from './blob-files.ts';
import { createBufferPool } from './buffer-pool.ts';
import { FileStream, StorageFailure } from './growing-file.ts';
import { createRoom } from './room.ts';

/** Keeps blobs on the disk, verified, by their digests: each is fetched once, for whoever asks, from whatever repository. */
export interface BlobCache {
  /**
   * Puts the cache before a reader.
   *
   * @param registry the registry behind it, by which fetches ahead are bounded
   */
  before(source: BlobReader, registry: string): BlobReader;
  /** Ends every fetch; what came stays to be gone on with. */
  close(): void;
}

export interface BlobCacheOptions {
  readonly folder: string;
  /** Bytes. */
  readonly limit: number;
  readonly log: CacheLog;
}

export interface CacheLog {
  /** A blob on the disk is not what it was when it was verified. */
  damaged(digest: Digest): void;
  /** A blob cannot be kept and passes through. */
  uncached(digest: Digest, reason: Error): void;
}

/** Bytes of buffers of each size that lie ready for the next chunk. */
const BUFFERS_KEPT = 8 * 1024 * 1024;
/** How many blobs of one registry are fetched at once for the fetching ahead to go on. */
const FETCHES_PER_REGISTRY = 8;

/** Opens the cache in its folder, which is made where it is missing. */
export async function openBlobCache({ folder, limit, log }: BlobCacheOptions): Promise<BlobCache> {
  const files = await openBlobFiles({ folder, onDamage: log.damaged });
  const buffers = createBufferPool(BUFFERS_KEPT);
  const fetches = new Map<Digest, BlobFetch>();
  const busy = new Map<string, number>();
  const open = new Map<string, number>();
  const room = createRoom({ files, limit, isInUse: (path) => open.has(path) });

  const begin = (blob: Descriptor, source: BlobReader, registry: string): BlobFetch => {
    add(busy, registry, 1);
    const paths = [files.blobPath(blob.digest), files.incomingPath(blob)];
    for (const path of paths) add(open, path, 1);
    const onEnd = (error: Error | undefined): void => {
      if (fetches.get(blob.digest) === fetch) fetches.delete(blob.digest);
      add(busy, registry, -1);
      for (const path of paths) add(open, path, -1);
      if (error instanceof StorageFailure) log.uncached(blob.digest, error);
    };
    const fetch = new BlobFetch({ blob, files, room, source, onEnd });
    fetches.set(blob.digest, fetch);
    return fetch;
  };

  const readHit = (file: FileHandle, blob: Descriptor, range: ByteRange, signal: AbortSignal): Readable => {
    const path = files.blobPath(blob.digest);
    add(open, path, 1);
    const onClose = (): void => {
      add(open, path, -1);
      file.close().catch(() => {});
    };
    const source = { file, available: blob.size, failure: undefined, onChange: () => () => {} };
    return new FileStream({ source, range, buffers, signal, onClose });
  };

  const readMiss = (
    fetch: () => BlobFetch,
    source: BlobReader,
    blob: Descriptor,
    { start, end }: ByteRange,
    signal: AbortSignal,
  ): Readable =>
    relay(async function* (ended) {
      let position = start;
      const joined = fetch();
      const onClose = await joined.join().catch(unlessStorage);
      if (onClose !== undefined) {
        const stream = new FileStream({
          source: joined,
          range: { start, end },
          buffers,
          signal: ended,
          onClose,
        });
        yield stream;
        position = stream.position;
      }
      if (position === end) return;
      // The disk failed. A whole blob is read whole again, since only so it is verified.
      if (start === 0 && end === blob.size)
        yield withoutStart(await source.read(blob, undefined, ended), position);
      else yield await source.read(blob, { start: position, end }, ended);
    }, signal);

  return {
    before: (source, registry) => ({
      async read(blob, range = { start: 0, end: blob.size }, signal) {
        const file = await files.open(blob);
        if (file !== undefined) return readHit(file, blob, range, signal);
        // What begins inside a blob that is not there need not wait for what stands before it.
        if (range.start > (fetches.get(blob.digest)?.received ?? 0)) return source.read(blob, range, signal);
        const fetch = (): BlobFetch => fetches.get(blob.digest) ?? begin(blob, source, registry);
        return readMiss(fetch, source, blob, range, signal);
      },

      prefetch(blob, signal) {
        if ((busy.get(registry) ?? 0) >= FETCHES_PER_REGISTRY) return;
        const fetch = fetches.get(blob.digest) ?? begin(blob, source, registry);
        fetch.join().then(
          (leave) => (signal.aborted ? leave() : signal.addEventListener('abort', leave, { once: true })),
          () => {},
        );
      },
    }),

    close() {
      for (const fetch of fetches.values()) fetch.abandon();
    },
  };
}

function withoutStart(stream: Readable, bytes: number): Readable {
  let left = bytes;
  const rest = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      const dropped = Math.min(left, chunk.length);
      left -= dropped;
      callback(null, chunk.subarray(dropped));
    },
  });
  return pipeline(stream, rest, () => {});
}

function unlessStorage(error: unknown): undefined {
  if (!(error instanceof StorageFailure)) throw error;
}

function add(counts: Map<string, number>, key: string, more: number): void {
  const count = (counts.get(key) ?? 0) + more;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}

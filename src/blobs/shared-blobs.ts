import { pipeline, type Readable, Transform } from 'node:stream';
import { isOutage } from '../errors.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { createBufferPool } from '../util/buffer-pool.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';
import { relay } from '../util/streams.ts';
import { createAdaptiveChunkSizes } from './chunk-size.ts';
import { FileStream } from './growing-file.ts';
import type { PatienceLimits } from './patience.ts';
import { SharedFetch } from './shared-fetch.ts';
import { verifiedRest } from './verified-reader.ts';

/** Lets clients that download the same blob at the same time share one request, without a disk cache. */
export interface SharedBlobs {
  /**
   * Wraps the reader of a repository. Readers of other repositories have requests of their own, because their clients
   * may not read this one.
   */
  before(source: BlobReader, registry: string, path: string): BlobReader;
}

/** Shares no requests. A single reader gains nothing from a shared fetch, and would wait for it. */
export const sharingNothing: SharedBlobs = { before: (source) => source };

/** Maximum bytes that all fetches keep in memory for their readers. */
const LIMIT = 32 * 1024 * 1024;
/** On a busy machine, equally fast clients wait for 3 % of the time at most. A slow client may delay the others by little more. */
const PATIENCE: PatienceLimits = { least: 250, share: 0.1 };

/**
 * Shares the requests for whole blobs. A reader joins a fetch whose first bytes are still in memory. A reader that is
 * much slower than the others, and falls behind the bytes in memory, requests the rest by range.
 */
export function createSharedBlobs(caches: MemoryCaches, patience: PatienceLimits = PATIENCE): SharedBlobs {
  const budget = { limit: LIMIT, held: 0 };
  caches.list({ name: 'recent-bytes', limit: LIMIT, bytes: () => budget.held });
  const fetches = new Map<string, SharedFetch>();
  const buffers = createBufferPool(0);
  const paces = createAdaptiveChunkSizes();

  const begin = (key: string, repository: string, blob: Descriptor, source: BlobReader): SharedFetch => {
    const onEnd = (): void => {
      if (fetches.get(key) === fetch) fetches.delete(key);
    };
    const expectsReaders = (): boolean =>
      [...fetches].some(([other, { isReceived }]) => isReceived && other.startsWith(repository));
    const fetch = new SharedFetch({ blob, source, budget, patience, expectsReaders, onEnd });
    fetches.set(key, fetch);
    return fetch;
  };

  const join = async (
    repository: string,
    blob: Descriptor,
    source: BlobReader,
    reader: { position: number },
    signal: AbortSignal,
  ): Promise<{ fetch: SharedFetch; leave: () => void }> => {
    const key = `${repository}${blob.digest} ${blob.size}`;
    for (;;) {
      const known = fetches.get(key);
      const shared = known?.hasStart ? known : undefined;
      const fetch = shared ?? begin(key, repository, blob, source);
      try {
        return { fetch, leave: await fetch.join(reader, signal) };
      } catch (error) {
        // Another client's error may concern only that client. An outage affects all of them.
        const isShared = isOutage(error) && !error.isFinal;
        if (shared === undefined || signal.aborted || isShared) throw error;
      }
    }
  };

  const readRest = async (
    blob: Descriptor,
    source: BlobReader,
    fetch: SharedFetch,
    position: number,
    signal: AbortSignal,
  ): Promise<Readable> => {
    const { at, hash } = fetch.checkpoint(position);
    const range = at === 0 ? undefined : { start: at, end: blob.size };
    const stream = await source.read(blob, range, signal);
    return withoutStart(at === 0 ? stream : verifiedRest(stream, blob, hash, signal), position - at);
  };

  return {
    before: (source, registry, path) => ({
      ...source,
      async read(blob, range = { start: 0, end: blob.size }, signal) {
        if (range.start > 0 || range.end < blob.size) return source.read(blob, range, signal);
        const reader = { position: 0 };
        const { fetch, leave } = await join(`${registry}/${path}@`, blob, source, reader, signal);
        const parts = async function* (ended: AbortSignal): AsyncGenerator<Readable, void> {
          const onMove = (position: number): void => {
            reader.position = position;
            fetch.moved();
          };
          const stream = new FileStream({
            ...{ source: fetch, range, buffers, paces, signal: ended, onMove, onClose: leave },
          });
          yield stream;
          if (stream.position < blob.size) yield readRest(blob, source, fetch, stream.position, ended);
        };
        // A stream that is destroyed before its first read never runs the generator.
        return relay(parts, signal).once('close', leave);
      },
    }),
  };
}

/** Drops the first bytes of a stream. */
export function withoutStart(stream: Readable, bytes: number): Readable {
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

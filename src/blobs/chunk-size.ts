import type { Stream } from 'node:stream';

/** The size of the chunks for one reader, which adapts to its speed. */
export interface AdaptiveChunkSize {
  /** Bytes. */
  chunkSize(): number;
  /** Counts bytes that the reader received. */
  count(bytes: number): void;
}

/** The chunk sizes of all readers of a process. */
export interface AdaptiveChunkSizes {
  /**
   * Adds a reader until `end` is called. If the receiver had a reader before, its measured rate is used again.
   *
   * @param receiver the sink of the bytes, or the stream itself if it is read
   */
  begin(receiver: Stream): { readonly pace: AdaptiveChunkSize; readonly end: () => void };
}

const SMALLEST_CHUNK = 16 * 1024;
const LARGEST_CHUNK = 512 * 1024;
/** The rate before any measurement. */
const FIRST_CHUNK = 256 * 1024;
/** The bytes of all readers' chunks together; each reader gets at least the smallest chunk. */
const ALL_CHUNKS = 8 * 1024 * 1024;
const ALL_FIRST_CHUNKS = 1024 * 1024;
/**
 * The time in milliseconds that a chunk covers. Large chunks make fast readers fast, and small ones limit the memory of
 * slow readers.
 */
const CHUNK_MS = 30;
/** The rate of a reader is measured over this number of milliseconds or bytes. Earlier, it may only fill buffers. */
const WINDOW_MS = 1000;
const WINDOW_BYTES = 8 * 1024 * 1024;

export function createAdaptiveChunkSizes(): AdaptiveChunkSizes {
  const paces = new WeakMap<Stream, AdaptiveChunkSize>();
  let readers = 0;
  return {
    begin(receiver) {
      const pace = paces.get(receiver) ?? createAdaptiveChunkSize(() => readers);
      paces.set(receiver, pace);
      readers += 1;
      const end = (): void => {
        readers -= 1;
      };
      return { pace, end };
    },
  };
}

/**
 * @param readers the number of readers
 * @param now a monotonic clock, in milliseconds
 */
export function createAdaptiveChunkSize(
  readers: () => number = () => 1,
  now: () => number = () => performance.now(),
): AdaptiveChunkSize {
  let wanted: number | undefined;
  let windowStart = now();
  let taken = 0;
  return {
    chunkSize() {
      const elapsed = now() - windowStart;
      if (elapsed >= WINDOW_MS || taken >= WINDOW_BYTES) {
        wanted = (taken / elapsed) * CHUNK_MS;
        windowStart += elapsed;
        taken = 0;
      }
      const size =
        wanted === undefined
          ? Math.min(FIRST_CHUNK, ALL_FIRST_CHUNKS / readers())
          : Math.min(wanted, LARGEST_CHUNK, ALL_CHUNKS / readers());
      // Powers of two, so that any reader can reuse a buffer.
      return Math.max(2 ** Math.floor(Math.log2(size)), SMALLEST_CHUNK);
    },
    count(bytes) {
      taken += bytes;
    },
  };
}

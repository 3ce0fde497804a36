import type { Writable } from 'node:stream';

/** How much to give a reader at a time, by how fast it takes it. */
export interface ReaderPace {
  /** Bytes. */
  chunkSize(): number;
  /** Counts bytes that it got. */
  count(bytes: number): void;
}

/** The paces of readers, each known for as long as the sink is there that it reads by. */
export type ReaderPaces = (sink: Writable) => ReaderPace;

/** Before a reader's pace is known. */
const FIRST_CHUNK = 32 * 1024;
const SMALLEST_CHUNK = 16 * 1024;
const LARGEST_CHUNK = 1024 * 1024;
/**
 * A chunk is about what its reader takes in this many milliseconds: large ones make fast readers fast, small ones keep
 * the memory of slow readers small.
 */
const CHUNK_MS = 10;
/** How fast a reader is shows after this many milliseconds or bytes: before, it may only fill the buffers between. */
const WINDOW_MS = 1000;
const WINDOW_BYTES = 16 * 1024 * 1024;

export function createReaderPaces(): ReaderPaces {
  const paces = new WeakMap<Writable, ReaderPace>();
  return (sink) => {
    const pace = paces.get(sink) ?? createReaderPace();
    paces.set(sink, pace);
    return pace;
  };
}

/** @param now milliseconds since some fixed moment */
export function createReaderPace(now: () => number = () => performance.now()): ReaderPace {
  let size = FIRST_CHUNK;
  let windowStart = now();
  let taken = 0;
  return {
    chunkSize() {
      const elapsed = now() - windowStart;
      if (elapsed >= WINDOW_MS || taken >= WINDOW_BYTES) {
        const wanted = (taken / elapsed) * CHUNK_MS;
        // Powers of two, so that buffers fit whoever needs one next.
        size = Math.min(Math.max(2 ** Math.floor(Math.log2(wanted)), SMALLEST_CHUNK), LARGEST_CHUNK);
        windowStart += elapsed;
        taken = 0;
      }
      return size;
    },
    count(bytes) {
      taken += bytes;
    },
  };
}

import type { Readable } from 'node:stream';
import type { ByteRange, Descriptor } from './descriptor.ts';

/** A reader of a blob, as the fetch sees it that reads the blob ahead. */
export interface Demand {
  /**
   * Bytes from the start of the blob to the reader: negative before the reader has reached the blob, `-Infinity` while
   * nothing shall be fetched for it, `Infinity` if it waits for the whole blob.
   */
  readonly position: number;
  /** Receives how many bytes were fetched on behalf of this reader, each time some were. */
  readonly onFetched?: ((bytes: number) => void) | undefined;
}

/** A reader that will reach a blob soon. */
export interface Approach extends Demand {
  /** Calls when the position has changed so that a fetch has to begin or to stop at once; returns what ends that. */
  onChange(call: () => void): () => void;
}

/** Where the bytes of blobs come from: a registry, a cache before it, memory. */
export interface BlobReader {
  /**
   * Opens a blob, or a range within it; resolves when there is something to read, so that a blob that cannot be had is an
   * error before the first byte. The stream ends after exactly the bytes asked for, or fails: a whole blob that
   * hasn't the size and digest of its descriptor fails before its last bytes are given away. Destroying the stream, or
   * aborting the signal, ends the work behind it at once.
   *
   * @param onFetched as in {@link Demand}; never called where nothing is kept
   */
  read(
    blob: Descriptor,
    range: ByteRange | undefined,
    signal: AbortSignal,
    onFetched?: Demand['onFetched'],
  ): Promise<Readable>;
  /**
   * As {@link BlobReader.read}, but gives away no byte, not even of a range, before the whole blob is here and verified.
   * Absent where nothing is kept.
   */
  readVerified?(
    blob: Descriptor,
    range: ByteRange | undefined,
    signal: AbortSignal,
    onFetched?: Demand['onFetched'],
  ): Promise<Readable>;
  /**
   * Begins to fetch a blob for a reader that will reach it soon, as far as the reader's position allows, until the signal
   * aborts. Resolves when its first bytes are there, or where it is not worth fetching now. Absent where nothing is kept.
   *
   * @throws CatalogueError why it cannot be had, which whoever reads it learns as well
   */
  prefetch?(blob: Descriptor, approach: Approach, signal: AbortSignal): Promise<void>;
}

import type { Readable } from 'node:stream';
import type { ByteRange, Descriptor } from './descriptor.ts';

/** A reader of a blob, from the perspective of the fetch that runs ahead of it. */
export interface Demand {
  /**
   * The reader's offset in the blob, in bytes. Negative before the reader reaches the blob, `-Infinity` while nothing
   * should be fetched for it, `Infinity` if it waits for the whole blob.
   */
  readonly position: number;
  /** Called with the number of bytes each time bytes are fetched on behalf of this reader. */
  readonly onFetched?: ((bytes: number) => void) | undefined;
  /**
   * True if the fetch has taken bandwidth from the blob that is being sent. While nothing should be fetched, it then has
   * no connection, because the system would continue to receive megabytes into its buffers.
   */
  readonly isHarmful?: boolean;
}

/** A reader that will reach a blob soon. */
export interface Approach extends Demand {
  /** Registers a call for changes of the position that start or stop a fetch. Returns a function that removes it. */
  onChange(call: () => void): () => void;
}

/** A source of blobs: a registry, a cache before it, or memory. */
export interface BlobReader {
  /**
   * Opens a blob, or a range within it. The promise resolves with the first bytes, so that an unavailable blob fails
   * before the response starts. The stream ends after exactly the requested bytes, or fails. A whole blob with a wrong
   * size or digest fails before its last bytes are sent. To stop the work at once, destroy the stream or abort the
   * signal.
   *
   * @param onFetched as in {@link Demand}; never called by a reader that stores nothing
   */
  read(
    blob: Descriptor,
    range: ByteRange | undefined,
    signal: AbortSignal,
    onFetched?: Demand['onFetched'],
  ): Promise<Readable>;
  /**
   * Like {@link BlobReader.read}, but sends no byte, not even of a range, before the whole blob is stored and verified.
   * Absent if nothing is stored.
   */
  readVerified?(
    blob: Descriptor,
    range: ByteRange | undefined,
    signal: AbortSignal,
    onFetched?: Demand['onFetched'],
  ): Promise<Readable>;
  /**
   * Reads a range and nothing else. The caller verifies the bytes by a digest of the range. Fails if the registry
   * ignores ranges. Absent if the reader can only read whole blobs.
   */
  readPart?(blob: Descriptor, range: ByteRange, signal: AbortSignal): Promise<Readable>;
  /**
   * Starts to fetch a blob for a reader that will reach it soon, as far as the reader's position allows, until the signal
   * aborts. Resolves with the first bytes, or if the blob should not be fetched now. Absent if nothing is stored.
   *
   * @throws ServiceError why the blob is not available; its readers get the same error
   */
  prefetch?(blob: Descriptor, approach: Approach, signal: AbortSignal): Promise<void>;
}

/** Reads a part as {@link BlobReader.readPart} does, or fails if the reader lacks this method. */
export async function readPart(
  reader: BlobReader,
  blob: Descriptor,
  range: ByteRange,
  signal: AbortSignal,
): Promise<Readable> {
  if (reader.readPart === undefined) throw new Error('Parts cannot be read by themselves');
  return reader.readPart(blob, range, signal);
}

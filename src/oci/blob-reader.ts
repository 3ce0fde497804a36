import type { Readable } from 'node:stream';
import type { ByteRange, Descriptor } from './descriptor.ts';

/** Where the bytes of blobs come from: a registry, a cache before it, memory. */
export interface BlobReader {
  /**
   * Opens a blob, or a range within it; resolves when there is something to read, so that a blob that cannot be had is an
   * error before the first byte. The stream ends after exactly the bytes asked for, or fails: a whole blob that
   * hasn't the size and digest of its descriptor fails before its last bytes are given away. Destroying the stream, or
   * aborting the signal, ends the work behind it at once.
   */
  read(blob: Descriptor, range: ByteRange | undefined, signal: AbortSignal): Promise<Readable>;
  /**
   * As {@link BlobReader.read}, but gives away no byte, not even of a range, before the whole blob is here and verified.
   * Absent where nothing is kept.
   */
  readVerified?(blob: Descriptor, range: ByteRange | undefined, signal: AbortSignal): Promise<Readable>;
  /**
   * Begins to fetch a blob that will be asked for soon, until the signal aborts. Resolves when its first bytes are there,
   * or where it is not worth fetching now. Absent where nothing is kept.
   *
   * @throws CatalogueError why it cannot be had, which whoever reads it learns as well
   */
  prefetch?(blob: Descriptor, signal: AbortSignal): Promise<void>;
}

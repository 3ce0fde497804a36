import type { Readable } from 'node:stream';
import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { ByteRange, Descriptor } from '../oci/descriptor.ts';
import { DamagedData, decompress, shareChunks } from '../util/decompress.ts';
import { lend } from '../util/streams.ts';

/**
 * Bytes of an archive that are computed while they are sent: stretches of the unpacked content of one blob, and bytes
 * between them. Stretches follow each other in the blob, so that one pass over it suffices.
 */
export interface Spliced {
  /** The blob from which the stretches are; undefined if there are only bytes. */
  readonly blob: Descriptor | undefined;
  /** Bytes. */
  readonly size: number;
  /**
   * Lists bytes and stretches from an offset on, in bytes. Together they have at least the rest of the size. Bytes are
   * valid until the next part is requested.
   *
   * @returns stretches as ranges of the unpacked blob
   */
  parts(from: number): Iterable<Uint8Array | ByteRange>;
}

/** Tells spliced bytes from other content of an archive. */
export function isSpliced(content: object): content is Spliced {
  return 'parts' in content;
}

const EMPTY = Buffer.alloc(0);

/**
 * Streams a range of spliced bytes. It reads the blob from its start, because compressed data cannot be read from the
 * middle. A blob that is not stored is read to its end, so that its digest is verified before the last bytes leave.
 */
export function readSpliced(
  content: Spliced,
  range: ByteRange,
  blobs: BlobReader,
  signal: AbortSignal,
  onFetched?: (bytes: number) => void,
): Readable {
  return lend((ended) => splice(content, range, blobs, ended, onFetched), signal);
}

/** Yields bytes that are valid until the next ones are requested. */
async function* splice(
  { blob, parts }: Spliced,
  { start, end }: ByteRange,
  blobs: BlobReader,
  signal: AbortSignal,
  onFetched: ((bytes: number) => void) | undefined,
): AsyncGenerator<Uint8Array, void> {
  // Many requests can begin at once, so each takes its share before it waits for its blob.
  using share = shareChunks();
  await using unpacked = openUnpacked(blob, blobs, share.chunkSize, signal, onFetched);
  const batch = Buffer.allocUnsafeSlow(Math.min(share.chunkSize, end - start));
  let filled = 0;
  /** Bytes of the range that are still missing. */
  let left = end - start;
  for (const part of parts(start)) {
    if (left === 0) break;
    const length = Math.min(part instanceof Uint8Array ? part.length : part.end - part.start, left);
    for (let done = 0; done < length; ) {
      let count = length - done;
      if (part instanceof Uint8Array) {
        count = Math.min(count, batch.length - filled);
        batch.set(count === part.length ? part : part.subarray(done, done + count), filled);
        filled += count;
      } else {
        count = Math.min(count, unpacked.available(part.start + done));
        if (count === 0) {
          await unpacked.more();
          continue;
        }
        if (count < batch.length) {
          count = Math.min(count, batch.length - filled);
          unpacked.copy(count, batch, filled);
          filled += count;
        } else {
          // Large stretches need no copy.
          if (filled > 0) yield batch.subarray(0, filled);
          filled = 0;
          const bytes = unpacked.take(count);
          yield left > count ? bytes : await unpacked.verified(bytes);
        }
      }
      done += count;
      left -= count;
      if (filled < batch.length || left === 0) continue;
      yield batch;
      filled = 0;
    }
  }
  const rest = await unpacked.verified(batch.subarray(0, filled));
  if (rest.length > 0) yield rest;
}

/** The unpacked content of a blob, chunk by chunk. */
interface Unpacked extends AsyncDisposable {
  /** Skips the bytes before a position, and returns the number of bytes that the chunk has from there. */
  available(position: number): number;
  /** Waits for the next chunk. */
  more(): Promise<void>;
  /** Returns the next bytes of the chunk without a copy. */
  take(count: number): Buffer;
  /** Copies the next bytes of the chunk into another buffer. */
  copy(count: number, target: Buffer, at: number): void;
  /** Reads and verifies the rest of the blob. Returns the given bytes, copied if another chunk replaces them. */
  verified(last: Buffer): Promise<Buffer>;
}

/** Opens a blob when its first stretch is read. */
function openUnpacked(
  blob: Descriptor | undefined,
  blobs: BlobReader,
  chunkSize: number,
  signal: AbortSignal,
  onFetched: ((bytes: number) => void) | undefined,
): Unpacked {
  const isVerified = blobs.readVerified !== undefined;
  let chunks: AsyncGenerator<Buffer, void, undefined> | undefined;
  let chunk: Buffer = EMPTY;
  /** The position of the chunk in the content, and that of the next byte in the chunk. */
  let [position, next] = [0, 0];
  return {
    available(wanted) {
      next = Math.min(Math.max(wanted - position, next), chunk.length);
      return chunk.length - next;
    },
    async more() {
      if (blob === undefined) throw new RangeError('These bytes have no blob');
      chunks ??= decompress(
        await (blobs.readVerified?.(blob, undefined, signal, onFetched) ??
          blobs.read(blob, undefined, signal, onFetched)),
        { chunkSize },
      );
      // The chunk is no longer valid when the next one arrives.
      [position, next] = [position + chunk.length, 0];
      chunk = EMPTY;
      const { done, value } = await nextOf(chunks, blob);
      if (done) throw tooShort(blob);
      chunk = value as Buffer;
    },
    take(count) {
      next += count;
      return chunk.subarray(next - count, next);
    },
    copy(count, target, at) {
      chunk.copy(target, at, next, next + count);
      next += count;
    },
    async verified(last) {
      if (isVerified || chunks === undefined || blob === undefined) return last;
      const kept = Buffer.from(last);
      while (!(await nextOf(chunks, blob)).done);
      return kept;
    },
    async [Symbol.asyncDispose]() {
      await chunks?.return();
    },
  };
}

async function nextOf(
  chunks: AsyncGenerator<Buffer, void, undefined>,
  blob: Descriptor,
): Promise<IteratorResult<Buffer, void>> {
  try {
    return await chunks.next();
  } catch (error) {
    if (!(error instanceof DamagedData)) throw error;
    throw new ServiceError(
      'content-mismatch',
      [detail('layer-invalid', { digest: blob.digest }), detail('compression-damaged', {})],
      { cause: error },
    );
  }
}

function tooShort({ digest }: Descriptor): ServiceError {
  return new ServiceError('content-mismatch', detail('layer-changed', { digest }));
}

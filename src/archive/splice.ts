import type { Readable } from 'node:stream';
import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { ByteRange, Descriptor } from '../oci/descriptor.ts';
import { DamagedData, decompress } from '../util/decompress.ts';
import { streamFrom } from '../util/streams.ts';

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
   * Lists bytes and stretches from an offset on, in bytes. Together they have at least the rest of the size.
   *
   * @returns stretches as ranges of the unpacked blob
   */
  parts(from: number): Iterable<Uint8Array | ByteRange>;
}

/** Tells spliced bytes from other content of an archive. */
export function isSpliced(content: object): content is Spliced {
  return 'parts' in content;
}

/** Bytes that are collected before they are sent, so that small files do not become small writes. */
const BATCH = 64 * 1024;

/**
 * Streams a range of spliced bytes. It reads the blob from its start, because compressed data cannot be read from the
 * middle. A blob that is not stored is read to its end, so that its digest is verified before the last bytes leave.
 */
export function readSpliced(
  { blob, parts }: Spliced,
  { start, end }: ByteRange,
  blobs: BlobReader,
  signal: AbortSignal,
  onFetched?: (bytes: number) => void,
): Readable {
  return streamFrom(async function* (ended) {
    await using unpacked = blob && openUnpacked(blob, blobs, ended, onFetched);
    const batch = createBatch();
    let left = end - start;
    for (const part of parts(start)) {
      if (left === 0) break;
      if (part instanceof Uint8Array) {
        const bytes = part.subarray(0, left);
        left -= bytes.length;
        yield* batch.add(bytes);
        continue;
      }
      const range = { start: part.start, end: Math.min(part.end, part.start + left) };
      left -= range.end - range.start;
      if (unpacked === undefined) throw new RangeError('These bytes have no blob');
      for await (const chunk of unpacked.read(range)) yield* batch.add(chunk);
    }
    await unpacked?.verify();
    yield* batch.rest();
  }, signal);
}

interface Unpacked extends AsyncDisposable {
  /** Yields a stretch. Each begins where the one before ended, or later. */
  read(range: ByteRange): AsyncGenerator<Buffer, void>;
  /** Reads on until the blob is verified. */
  verify(): Promise<void>;
}

/** Opens a blob when its first stretch is read. */
function openUnpacked(
  blob: Descriptor,
  blobs: BlobReader,
  signal: AbortSignal,
  onFetched: ((bytes: number) => void) | undefined,
): Unpacked {
  const isVerified = blobs.readVerified !== undefined;
  let chunks: AsyncGenerator<Buffer, void, undefined> | undefined;
  let chunk: Buffer = Buffer.alloc(0);
  let position = 0;
  const more = async (): Promise<void> => {
    chunks ??= decompress(
      await (blobs.readVerified?.(blob, undefined, signal, onFetched) ??
        blobs.read(blob, undefined, signal, onFetched)),
    );
    const { done, value } = await nextOf(chunks, blob);
    if (done) throw tooShort(blob);
    chunk = value as Buffer;
  };
  return {
    async *read({ start, end }) {
      while (position < end) {
        if (chunk.length === 0) await more();
        const skipped = Math.min(Math.max(start - position, 0), chunk.length);
        const own = chunk.subarray(skipped, skipped + end - Math.max(position, start));
        const passed = skipped + own.length;
        position += passed;
        chunk = chunk.subarray(passed);
        if (own.length > 0) yield own;
      }
    },
    async verify() {
      if (isVerified || chunks === undefined) return;
      while (!(await nextOf(chunks, blob)).done);
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

/** Joins small pieces, and passes large ones on as they are. */
function createBatch() {
  let buffer: Buffer | undefined;
  let length = 0;
  const rest = function* (): Generator<Buffer> {
    if (buffer === undefined || length === 0) return;
    const full = buffer.subarray(0, length);
    buffer = undefined;
    length = 0;
    yield full;
  };
  return {
    rest,
    *add(bytes: Uint8Array): Generator<Uint8Array> {
      if (length + bytes.length > BATCH) yield* rest();
      if (bytes.length >= BATCH / 2) {
        yield* rest();
        yield bytes;
        return;
      }
      buffer ??= Buffer.allocUnsafeSlow(BATCH);
      buffer.set(bytes, length);
      length += bytes.length;
    },
  };
}

function tooShort({ digest }: Descriptor): ServiceError {
  return new ServiceError('content-mismatch', detail('layer-changed', { digest }));
}

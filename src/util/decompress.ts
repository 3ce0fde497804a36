import { pipeline, Readable } from 'node:stream';
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';
import { createZstdFrames } from './zstd-frames.ts';

/** Compressed data that is damaged, cut off, or needs too much memory. */
export class DamagedData extends Error {
  override readonly name = 'DamagedData';
}

/**
 * Bytes of an output chunk. Each chunk takes a round trip to another thread, so large chunks make a single reader fast.
 * All chunks together have a limit, and many readers therefore get small ones.
 */
const CHUNK = { least: 32 * 1024, most: 256 * 1024, all: 2 * 2 ** 20 };
/** Chunks that may wait for the reader. One more is decompressed meanwhile, so that the other thread rarely idles. */
const AHEAD = 2;
/** The number of streams that are being decompressed. */
let readers = 0;
/** The base-2 logarithm of the largest zstd window: 128 MiB, the limit of the zstd command as well. */
const WINDOW_LOG_MAX = 27;
const ZSTD_MAGIC = [0x28b52ffd, 0x184d2a50] as const;

/**
 * Decompresses gzip with any number of members, and zstd with any number of frames. Other data passes unchanged. The
 * first bytes decide, because media types are often wrong. A chunk is valid until the next one is requested.
 *
 * @throws DamagedData from the iteration
 */
export async function* decompress(
  source: Readable,
  chunkSize = fairChunk(),
): AsyncGenerator<Buffer, void, undefined> {
  readers += 1;
  const input = source.iterator({ destroyOnReturn: true });
  let head: Buffer = Buffer.alloc(0);
  try {
    while (head.length < 4) {
      const { done, value } = await input.next();
      if (done) break;
      head = head.length === 0 ? value : Buffer.concat([head, value]);
    }
    const chunks = withHead(head, input);
    if (head.length >= 2 && head.readUInt16BE(0) === 0x1f8b) yield* gunzip(chunks, chunkSize);
    else if (isZstd(head)) yield* unzstd(chunks, chunkSize);
    else yield* chunks;
  } finally {
    readers -= 1;
    source.destroy();
  }
}

/** Returns the size of a chunk for one more reader, in bytes. */
export function fairChunk(): number {
  const size = Math.min(Math.max(CHUNK.all / (readers + 1), CHUNK.least), CHUNK.most);
  return 2 ** Math.floor(Math.log2(size));
}

function isZstd(head: Buffer): boolean {
  if (head.length < 4) return false;
  return head.readUInt32BE(0) === ZSTD_MAGIC[0] || (head.readUInt32LE(0) & ~0xf) >>> 0 === ZSTD_MAGIC[1];
}

async function* withHead(
  head: Buffer,
  rest: AsyncIterator<Buffer, unknown>,
): AsyncGenerator<Buffer, void, undefined> {
  if (head.length > 0) yield head;
  for (;;) {
    const { done, value } = await rest.next();
    if (done) return;
    yield value as Buffer;
  }
}

async function* gunzip(chunks: AsyncGenerator<Buffer>, chunkSize: number): AsyncGenerator<Buffer, void> {
  yield* through(chunks, createGunzip(bufferingOf(chunkSize)), chunkSize);
}

async function* unzstd(chunks: AsyncGenerator<Buffer>, chunkSize: number): AsyncGenerator<Buffer, void> {
  const frames = createZstdFrames();
  let rest: Buffer = Buffer.alloc(0);
  let isOver = false;
  const more = async (): Promise<void> => {
    const { done, value } = await chunks.next();
    if (done) isOver = true;
    else rest = value;
  };
  const frame = async function* (): AsyncGenerator<Buffer, void> {
    do {
      if (rest.length === 0) await more();
      if (isOver) throw new DamagedData('the zstd data is cut off');
      const length = pushed(frames, rest);
      const own = rest.subarray(0, length);
      rest = rest.subarray(length);
      yield own;
    } while (frames.state !== 'end');
  };
  for (;;) {
    while (rest.length === 0 && !isOver) await more();
    if (isOver) return;
    // A skippable frame shows itself by its first bytes, which may be divided among chunks.
    while (rest.length < 4) {
      const before = rest;
      rest = Buffer.alloc(0);
      await more();
      if (isOver) throw new DamagedData('the zstd data is cut off');
      rest = Buffer.concat([before, rest]);
    }
    if (!isZstd(rest)) throw new DamagedData('other data follows the zstd data');
    if ((rest.readUInt32LE(0) & ~0xf) >>> 0 === ZSTD_MAGIC[1]) {
      for await (const _ of frame());
    } else {
      const params = { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX };
      yield* through(frame(), createZstdDecompress({ ...bufferingOf(chunkSize), params }), chunkSize);
    }
  }
}

function pushed(frames: ReturnType<typeof createZstdFrames>, chunk: Buffer): number {
  try {
    return frames.push(chunk);
  } catch (error) {
    throw new DamagedData((error as Error).message);
  }
}

/**
 * Returns options for a decompressor that works ahead. The queue counts chunks. If it counted bytes, Node.js would copy
 * waiting chunks into one. With a large chunk, two input chunks can wait, so that the next one is ready when the first is used up.
 */
function bufferingOf(chunkSize: number) {
  // Small chunks belong to many readers, whose memory matters more than their speed.
  const ahead = chunkSize < CHUNK.most ? 1 : AHEAD;
  const queues = { readableHighWaterMark: ahead, writableHighWaterMark: ahead * chunkSize };
  return { chunkSize, readableObjectMode: true, ...queues };
}

type Decompressor = ReturnType<typeof createGunzip> | ReturnType<typeof createZstdDecompress>;

/**
 * Frees the memory of a chunk at once. Otherwise, the garbage collector runs for every few dozen chunks, because their
 * memory counts toward its limits, and takes as long as the decompression.
 */
function free({ buffer, byteOffset, length }: Buffer, chunkSize: number): void {
  // The decompressor continues to fill a buffer that is not full.
  const isFull = byteOffset + length === chunkSize && buffer.byteLength === chunkSize;
  if (isFull && buffer instanceof ArrayBuffer) buffer.transfer(0);
}

async function* through(
  chunks: AsyncGenerator<Buffer>,
  decompressor: Decompressor,
  chunkSize: number,
): AsyncGenerator<Buffer, void> {
  let cause: Error | undefined;
  // The source's own failure counts, not what that did to the decompressor.
  const watched = async function* (): AsyncGenerator<Buffer, void> {
    try {
      yield* chunks;
    } catch (error) {
      cause = error as Error;
      throw error;
    }
  };
  const output = pipeline(Readable.from(watched(), { highWaterMark: 1 }), decompressor, () => {});
  try {
    for await (const chunk of output) {
      yield chunk as Buffer;
      free(chunk as Buffer, chunkSize);
    }
  } catch (error) {
    if (cause !== undefined) throw cause;
    throw new DamagedData((error as Error).message, { cause: error });
  }
}

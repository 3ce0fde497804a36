import { Buffer } from 'node:buffer';
import { type Readable, Writable } from 'node:stream';
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';
import { send } from './streams.ts';
import { createZstdFrames } from './zstd-frames.ts';

/** Compressed data that is damaged, cut off, or needs too much memory. */
export class DamagedData extends Error {
  override readonly name = 'DamagedData';
}

export interface DecompressOptions {
  /** Bytes of an output chunk. The default is a fair share of the memory for all chunks. */
  readonly chunkSize?: number;
  /** Receives each chunk before it is decompressed. An error ends the decompression. */
  readonly inspect?: (packed: Uint8Array) => void;
}

/**
 * Bytes of an output chunk. Each chunk takes a round trip to another thread, so large chunks make a single reader fast.
 * All chunks together have a limit, and many readers therefore get small ones.
 */
const CHUNK = { least: 16 * 1024, most: 512 * 1024, all: 2 ** 20 };
/** Chunks that may wait for the reader. One more is decompressed meanwhile, so that the other thread rarely idles. */
const AHEAD = 2;
/** The number of streams that are being decompressed. */
let readers = 0;
/** The base-2 logarithm of the largest zstd window: 128 MiB, the limit of the zstd command as well. */
const WINDOW_LOG_MAX = 27;
const ZSTD_MAGIC = [0x28b52ffd, 0x184d2a50] as const;
const GZIP_MAGIC = 0x1f8b;
/** The number of bytes that identify the compression format. */
const HEAD = 4;
const EMPTY = Buffer.alloc(0);

/**
 * Decompresses gzip with any number of members, and zstd with any number of frames. Other data passes unchanged. The
 * first bytes decide, because media types are often wrong. A chunk is valid until the next one is requested.
 *
 * @throws DamagedData from the iteration
 */
export async function* decompress(
  source: Readable,
  { chunkSize, inspect }: DecompressOptions = {},
): AsyncGenerator<Buffer, void, undefined> {
  if (source.destroyed) throw source.errored ?? new Error('The stream was closed.');
  using share = chunkSize === undefined ? shareChunks() : { chunkSize, [Symbol.dispose]() {} };
  const unpacker = new Unpacker(share.chunkSize, inspect);
  // A file that is sent to a sink reuses one buffer for all packed bytes. Read as a stream, it would allocate each chunk.
  send(source, unpacker).then(
    () => unpacker.end(),
    (error: Error) => unpacker.destroy(error),
  );
  try {
    yield* unpacker.chunks();
  } finally {
    unpacker.destroy();
    source.destroy();
  }
}

/** One reader's share of the memory for chunks, until its disposal. */
export interface ChunkShare extends Disposable {
  /** Bytes. */
  readonly chunkSize: number;
}

/** Counts one more reader, and returns its fair share. */
export function shareChunks(): ChunkShare {
  readers += 1;
  // One share stays free, so only a single reader gets the most.
  const size = Math.min(Math.max(CHUNK.all / (readers + 1), CHUNK.least), CHUNK.most);
  return {
    chunkSize: 2 ** Math.floor(Math.log2(size)),
    [Symbol.dispose]() {
      readers -= 1;
    },
  };
}

type Decompressor = ReturnType<typeof createGunzip> | ReturnType<typeof createZstdDecompress>;

/** Bytes that need no decompression, or the decompressor that outputs the next bytes. */
type Part = Buffer | Decompressor;

/**
 * Accepts packed bytes, and yields unpacked chunks. A write completes when its bytes are decompressed. With large chunks,
 * it completes when the bytes before are, so that the source reads the next bytes meanwhile.
 */
class Unpacker extends Writable {
  readonly #chunkSize: number;
  readonly #inspect: DecompressOptions['inspect'];
  readonly #parts = createHandover<Part>();
  readonly #frames = createZstdFrames();
  readonly #isFast: boolean;
  /** The copy that was made last, and the one before. */
  #copies: readonly [Buffer, Buffer] = [EMPTY, EMPTY];
  /** Resolves when the bytes of all writes are decompressed. */
  #taken: Promise<void> = Promise.resolve();
  #head = EMPTY;
  #format: Format | undefined;
  #decompressor: Decompressor | undefined;
  /** Resolves when the reader has received all chunks of the decompressor. */
  #isRead: Promise<void> = Promise.resolve();

  constructor(chunkSize: number, inspect: DecompressOptions['inspect']) {
    // One chunk at a time, so that a paused reader pauses the source.
    super({ highWaterMark: 1 });
    this.#chunkSize = chunkSize;
    // As for chunks, the memory of many readers matters more than their speed.
    this.#isFast = chunkSize >= CHUNK.most;
    this.#inspect = inspect;
    // The reader gets all errors. An unhandled error event would end the process.
    this.on('error', (error) => this.#parts.fail(error));
  }

  async *chunks(): AsyncGenerator<Buffer, void, undefined> {
    try {
      for await (const part of this.#parts) {
        if (part instanceof Buffer) {
          yield part;
          continue;
        }
        for await (const chunk of part as AsyncIterable<Buffer>) {
          yield chunk;
          free(chunk, this.#chunkSize);
        }
      }
    } catch (error) {
      // The reader gets the failure of the source, not the resulting error of the decompressor.
      throw this.errored ?? error;
    }
  }

  override _write(chunk: Buffer, _: string, callback: (error?: Error | null) => void): void {
    const before = this.#taken;
    const bytes = this.#isFast ? this.#copy(chunk) : chunk;
    this.#taken = before.then(() => this.#take(bytes));
    // A copy may fail when its write is already complete.
    this.#taken.catch((error: Error) => this.destroy(error));
    const isFree = this.#isFast ? before : this.#taken;
    isFree.then(() => callback(), callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#finish().then(() => callback(), callback);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#decompressor?.destroy(error ?? undefined);
    callback(error);
  }

  /** Copies into the one of two buffers that is not being decompressed. */
  #copy(chunk: Buffer): Buffer {
    const [busy, free] = this.#copies;
    const copy = free.length < chunk.length ? Buffer.allocUnsafeSlow(chunk.length) : free;
    this.#copies = [copy, busy];
    chunk.copy(copy);
    return copy.subarray(0, chunk.length);
  }

  async #take(chunk: Buffer): Promise<void> {
    if (this.destroyed) return;
    this.#inspect?.(chunk);
    if (this.#format !== undefined) return this.#decode(this.#format, chunk);
    this.#head = Buffer.concat([this.#head, chunk]);
    if (this.#head.length < HEAD) return;
    return this.#decodeHead();
  }

  async #decodeHead(): Promise<void> {
    const head = this.#head;
    this.#head = EMPTY;
    this.#format = formatOf(head);
    await this.#decode(this.#format, head);
  }

  async #finish(): Promise<void> {
    await this.#taken;
    if (this.#format === undefined && this.#head.length > 0) await this.#decodeHead();
    if (this.#format === 'zstd' && (this.#head.length > 0 || this.#frames.state === 'within'))
      throw new DamagedData('the zstd data is cut off');
    this.#decompressor?.end();
    await this.#isRead;
    this.#parts.end();
  }

  async #decode(format: Format, bytes: Buffer): Promise<void> {
    if (format === 'zstd') await this.#decodeFrames(bytes);
    else if (format === 'gzip') await this.#pass(bytes, () => createGunzip(bufferingOf(this.#chunkSize)));
    else await this.#parts.give(bytes);
  }

  async #decodeFrames(bytes: Buffer): Promise<void> {
    for (let rest = bytes; rest.length > 0; ) {
      if (this.#frames.state !== 'within') {
        // The first bytes identify a frame, and may be divided among chunks.
        if (this.#head.length > 0) rest = Buffer.concat([this.#head, rest]);
        this.#head = rest.length < HEAD ? Buffer.from(rest) : EMPTY;
        if (rest.length < HEAD) return;
        if (!isZstd(rest)) throw new DamagedData('other data follows the zstd data');
      }
      const length = pushed(this.#frames, rest);
      const own = rest.subarray(0, length);
      rest = rest.subarray(length);
      const params = { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX };
      if (!this.#frames.isSkippable)
        await this.#pass(own, () => createZstdDecompress({ ...bufferingOf(this.#chunkSize), params }));
      if (this.#frames.state !== 'end') continue;
      this.#decompressor?.end();
      this.#decompressor = undefined;
      // Without this wait, each of many short frames would keep a decompressor until the reader gets to it.
      await this.#isRead;
    }
  }

  /** Resolves when the decompressor has used the bytes, or ignores them. */
  async #pass(bytes: Buffer, create: () => Decompressor): Promise<void> {
    if (this.#decompressor === undefined) {
      this.#decompressor = create();
      this.#decompressor.on('error', (error) =>
        this.destroy(new DamagedData(error.message, { cause: error })),
      );
      this.#isRead = this.#parts.give(this.#decompressor);
    }
    const decompressor = this.#decompressor;
    // Gzip data may end with zeros, for example on tapes. Its decompressor closes at the first ones.
    if (decompressor.destroyed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    // A decompressor that closes while it has bytes never calls back.
    decompressor.once('close', resolve);
    decompressor.write(bytes, () => resolve());
    await promise;
    decompressor.off('close', resolve);
  }
}

type Format = 'gzip' | 'zstd' | 'none';

function formatOf(head: Buffer): Format {
  if (head.length >= 2 && head.readUInt16BE(0) === GZIP_MAGIC) return 'gzip';
  return isZstd(head) ? 'zstd' : 'none';
}

function isZstd(head: Buffer): boolean {
  if (head.length < HEAD) return false;
  return head.readUInt32BE(0) === ZSTD_MAGIC[0] || (head.readUInt32LE(0) & ~0xf) >>> 0 === ZSTD_MAGIC[1];
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
 * waiting chunks into one.
 */
function bufferingOf(chunkSize: number) {
  // Small chunks belong to many readers, whose memory matters more than their speed.
  const readableHighWaterMark = chunkSize < CHUNK.most ? 1 : AHEAD;
  return { chunkSize, readableObjectMode: true, readableHighWaterMark };
}

/**
 * Frees the memory of a chunk at once. Otherwise, the garbage collector runs for every few dozen chunks, because their
 * memory counts toward its limits, and takes as long as the decompression.
 */
function free({ buffer, byteOffset, length }: Buffer, chunkSize: number): void {
  // The decompressor continues to fill a buffer that is not full.
  const isFull = byteOffset + length === chunkSize && buffer.byteLength === chunkSize;
  if (isFull && buffer instanceof ArrayBuffer) buffer.transfer(0);
}

interface Handover<T> extends AsyncIterable<T> {
  /** Resolves when the reader requests the next value. Call it again only then. */
  give(value: T): Promise<void>;
  end(): void;
  fail(error: Error): void;
}

/** Hands values to a reader, one at a time. */
function createHandover<T>(): Handover<T> {
  let offer: { readonly value: T; readonly taken: () => void } | undefined;
  let over: { readonly error?: Error } | undefined;
  let wake = (): void => {};
  return {
    give(value) {
      const { promise, resolve } = Promise.withResolvers<void>();
      offer = { value, taken: resolve };
      wake();
      return promise;
    },
    end() {
      over ??= {};
      wake();
    },
    fail(error) {
      over ??= { error };
      wake();
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        if (over?.error !== undefined) throw over.error;
        if (offer !== undefined) {
          const { value, taken } = offer;
          offer = undefined;
          yield value;
          taken();
        } else if (over !== undefined) return;
        else {
          const { promise, resolve } = Promise.withResolvers<void>();
          wake = resolve;
          await promise;
        }
      }
    },
  };
}

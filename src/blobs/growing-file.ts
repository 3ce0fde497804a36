import { read } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import type { ByteRange } from '../oci/descriptor.ts';
import { destroyOnAbort } from '../util/aborted.ts';
import type { BufferPool } from '../util/buffer-pool.ts';
import { DirectStream } from '../util/streams.ts';
import type { AdaptiveChunkSize, AdaptiveChunkSizes } from './chunk-size.ts';
import type { LentBytes } from './recent-bytes.ts';

/** A failure of the disk. The registry can still provide the missing bytes. */
export class StorageFailure extends Error {
  override readonly name = 'StorageFailure';
}

/** A file that may still grow, and the part of it that may be read. */
export interface GrowingFile {
  /** The open file; undefined if only the bytes in memory can be read. */
  readonly file: FileHandle | undefined;
  /** The number of bytes from the start that may be sent. */
  readonly available: number;
  /** Lends bytes that are in memory; undefined if they are only in the file. Absent if none ever are. */
  lend?(position: number): LentBytes | undefined;
  /** The reason why the file will not grow any more. */
  readonly failure: Error | undefined;
  /** Calls once when `available` or `failure` has changed. The returned function cancels the call. */
  onChange(call: () => void): () => void;
}

/** The receiver of the chunks of a stream. */
interface Consumer {
  readonly pace: AdaptiveChunkSize;
  /** Returns a buffer to read into, which the consumer releases after its delivery. */
  take(size: number): LentBytes;
  /** Returns bytes that are in memory, at most `length` from a position on. */
  lend(position: number, length: number): LentBytes | undefined;
  deliver(chunk: Buffer, release: () => void): void;
  /** Releases the chunk whose delivery has failed. */
  takeBack(): void;
  end(): void;
}

export interface FileStreamOptions {
  readonly source: GrowingFile;
  readonly range: ByteRange;
  readonly buffers: BufferPool;
  readonly paces: AdaptiveChunkSizes;
  readonly signal: AbortSignal;
  /** Called with each new position. */
  readonly onMove?: ((position: number) => void) | undefined;
  /** Called once when the stream ends or fails. */
  readonly onClose: () => void;
}

/**
 * Reads a range of a file that may still grow, at the speed of its reader. The stream ends early, at its `position`,
 * after a {@link StorageFailure} or when the bytes are no longer in memory.
 */
export class FileStream extends DirectStream {
  /** The position up to which it has read. */
  position: number;
  readonly #source: GrowingFile;
  readonly #end: number;
  readonly #onMove: ((position: number) => void) | undefined;
  readonly #onClose: () => void;
  readonly #buffers: BufferPool;
  readonly #paces: AdaptiveChunkSizes;
  readonly #reader: Consumer;
  #takeBack: (() => void) | undefined;
  #isReading = false;

  constructor({ source, range, buffers, paces, signal, onMove, onClose }: FileStreamOptions) {
    super({ highWaterMark: 1 });
    this.position = range.start;
    this.#source = source;
    this.#end = range.end;
    this.#onMove = onMove;
    this.#onClose = onClose;
    this.#buffers = buffers;
    this.#paces = paces;
    let pace: AdaptiveChunkSize | undefined;
    const begin = (): AdaptiveChunkSize => {
      const begun = this.#paces.begin(this);
      this.once('close', begun.end);
      return begun.pace;
    };
    this.#reader = {
      // Only a stream that is read counts among the readers, because a sink has its own chunk size.
      get pace() {
        pace ??= begin();
        return pace;
      },
      // The reader keeps its chunks.
      take: (size) => ({ bytes: Buffer.allocUnsafeSlow(size), release: () => {} }),
      lend: (position, length) => {
        const lent = this.#source.lend?.(position);
        const bytes = lent && Buffer.from(lent.bytes.subarray(0, length));
        lent?.release();
        return bytes && { bytes, release: () => {} };
      },
      deliver: (chunk) => this.push(chunk),
      takeBack() {},
      end: () => this.push(null),
    };
    // Last: a signal that has aborted already destroys at once what must be complete.
    destroyOnAbort(signal, this);
  }

  override get ready(): number {
    return Math.max(Math.min(this.#source.available, this.#end) - this.position, 0);
  }

  override _read(): void {
    this.#readNext(this.#reader);
  }

  sendTo(sink: Writable, inspect?: (chunk: Uint8Array) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.on('error', reject).once('close', () => reject(new Error('The stream was closed.')));
    const { pace, end } = this.#paces.begin(sink);
    /** Releases the chunk that the sink has. */
    let release: (() => void) | undefined;
    const takeBack = (): void => {
      release?.();
      release = undefined;
    };
    this.once('close', () => {
      end();
      if (release === undefined) return;
      // If its connection ends first, a pipelined or throttled response never calls back.
      if (sink.closed) takeBack();
      else sink.once('close', takeBack);
    });
    const consumer: Consumer = {
      pace,
      take: (size) => {
        const bytes = this.#buffers.take(size);
        return { bytes, release: () => this.#buffers.give(bytes) };
      },
      lend: (position, length) => {
        const lent = this.#source.lend?.(position);
        return lent && { bytes: lent.bytes.subarray(0, length), release: lent.release };
      },
      deliver: (chunk, releaseChunk) => {
        release = releaseChunk;
        inspect?.(chunk);
        sink.write(chunk, (error) => {
          takeBack();
          if (!error) this.#readNext(consumer);
        });
      },
      takeBack,
      end: () => {
        resolve();
        this.destroy();
      },
    };
    this.#readNext(consumer);
    return promise;
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#takeBack?.();
    // The descriptor must outlive the read under way.
    if (this.#isReading) this.once('read-settled', () => this.#onClose());
    else this.#onClose();
    callback(error);
  }

  /** Gives the next chunk to the consumer as soon as it is available. */
  #readNext(consumer: Consumer): void {
    if (this.destroyed) return;
    const { available, failure, file } = this.#source;
    const size = consumer.pace.chunkSize();
    const length = Math.min(available - this.position, this.#end - this.position, size);
    if (this.position >= this.#end || (length <= 0 && failure instanceof StorageFailure)) {
      consumer.end();
    } else if (length <= 0 && failure !== undefined) {
      this.destroy(failure);
    } else if (length <= 0) {
      this.#takeBack = this.#source.onChange(() => this.#readNext(consumer));
    } else {
      const lent = consumer.lend(this.position, length);
      if (lent !== undefined) this.#deliver(consumer, lent.bytes, lent.release);
      else if (file !== undefined) this.#readFile(consumer, file, size, length);
      else consumer.end();
    }
  }

  #readFile(consumer: Consumer, file: FileHandle, size: number, length: number): void {
    const { bytes, release } = consumer.take(size);
    this.#isReading = true;
    read(file.fd, bytes, 0, length, this.position, (error, bytesRead) => {
      this.#isReading = false;
      this.emit('read-settled');
      if (this.destroyed) return;
      if (error === null && bytesRead > 0) this.#deliver(consumer, bytes.subarray(0, bytesRead), release);
      else this.destroy(error ?? new Error('A file of the cache is shorter than it was.'));
    });
  }

  #deliver(consumer: Consumer, chunk: Buffer, release: () => void): void {
    this.position += chunk.length;
    consumer.pace.count(chunk.length);
    this.#onMove?.(this.position);
    try {
      consumer.deliver(chunk, release);
    } catch (thrown) {
      consumer.takeBack();
      this.destroy(thrown as Error);
    }
  }
}

import { read, writev } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { addAbortSignal, Writable } from 'node:stream';
import type { ByteRange } from '../oci/descriptor.ts';
import { DirectStream } from '../streams.ts';
import type { BufferPool } from './buffer-pool.ts';

/** The disk, not the registry, is why a blob cannot be kept: what is missing can still come from the registry. */
export class StorageFailure extends Error {
  override readonly name = 'StorageFailure';
}

/** A file that may still grow, and what of it may be read. */
export interface GrowingFile {
  readonly file: FileHandle;
  /** Bytes, from the first on, that may be given away. */
  readonly available: number;
  /** Why no more bytes will come. */
  readonly failure: Error | undefined;
  /** Calls once when one of the two has changed; what comes back takes the call back. */
  onChange(call: () => void): () => void;
}

const SMALLEST_CHUNK = 32 * 1024;
const LARGEST_CHUNK = 256 * 1024;
/**
 * A chunk is about what its reader takes in this many milliseconds: large ones make fast readers fast, small ones keep
 * the memory of slow readers small.
 */
const CHUNK_MS = 10;
/** How fast a reader is shows after this many milliseconds or bytes: before, it may only fill the buffers between. */
const PACE_WINDOW_MS = 1000;
const PACE_WINDOW_BYTES = 16 * 1024 * 1024;

/** Who takes the chunks of a stream. */
interface Consumer {
  take(size: number): Buffer;
  deliver(chunk: Buffer, buffer: Buffer): void;
  end(): void;
}

export interface FileStreamOptions {
  readonly source: GrowingFile;
  readonly range: ByteRange;
  readonly buffers: BufferPool;
  readonly signal: AbortSignal;
  /** Called once, when the stream is over, however it ended. */
  readonly onClose: () => void;
}

/**
 * Reads a range of a file that may still grow: each reader at its own pace, none of them holding up another. It ends
 * at its `position` where a {@link StorageFailure} keeps the rest from coming.
 */
export class FileStream extends DirectStream {
  /** How far it has read. */
  position: number;
  readonly #source: GrowingFile;
  readonly #end: number;
  readonly #onClose: () => void;
  readonly #buffers: BufferPool;
  #takeBack: (() => void) | undefined;
  #isReading = false;
  #chunkSize = SMALLEST_CHUNK;
  #windowStart = performance.now();
  #windowPosition: number;

  constructor({ source, range, buffers, signal, onClose }: FileStreamOptions) {
    super({ highWaterMark: 1 });
    this.position = range.start;
    this.#windowPosition = range.start;
    this.#source = source;
    this.#end = range.end;
    this.#onClose = onClose;
    this.#buffers = buffers;
    // Last: a signal that has aborted already destroys at once what must be complete.
    addAbortSignal(signal, this);
  }

  override _read(): void {
    this.#readNext({
      take: Buffer.allocUnsafeSlow,
      deliver: (chunk) => this.push(chunk),
      end: () => this.push(null),
    });
  }

  sendTo(sink: Writable, inspect?: (chunk: Uint8Array) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.on('error', reject).once('close', () => reject(new Error('The stream was closed.')));
    const consumer: Consumer = {
      take: this.#buffers.take,
      deliver: (chunk, buffer) => {
        inspect?.(chunk);
        const isReady = sink.write(chunk, () => this.#buffers.give(buffer));
        if (isReady) this.#readNext(consumer);
        else sink.once('drain', () => this.#readNext(consumer));
      },
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

  /** Gives the next chunk to the consumer, as soon as there is one. */
  #readNext(consumer: Consumer): void {
    if (this.destroyed) return;
    const { available, failure, file } = this.#source;
    const size = this.#nextChunkSize();
    const length = Math.min(available - this.position, this.#end - this.position, size);
    if (this.position >= this.#end || (length <= 0 && failure instanceof StorageFailure)) {
      consumer.end();
    } else if (length <= 0 && failure !== undefined) {
      this.destroy(failure);
    } else if (length <= 0) {
      this.#takeBack = this.#source.onChange(() => this.#readNext(consumer));
    } else {
      const buffer = consumer.take(size);
      this.#isReading = true;
      read(file.fd, buffer, 0, length, this.position, (error, bytesRead) => {
        this.#isReading = false;
        this.emit('read-settled');
        this.#deliver(consumer, buffer, bytesRead, error);
      });
    }
  }

  #deliver(consumer: Consumer, buffer: Buffer, bytesRead: number, error: Error | null): void {
    if (this.destroyed) return;
    if (error !== null || bytesRead === 0) {
      this.destroy(error ?? new Error('A file of the cache is shorter than it was.'));
      return;
    }
    this.position += bytesRead;
    try {
      consumer.deliver(buffer.subarray(0, bytesRead), buffer);
    } catch (thrown) {
      this.destroy(thrown as Error);
    }
  }

  #nextChunkSize(): number {
    const elapsed = performance.now() - this.#windowStart;
    const sent = this.position - this.#windowPosition;
    if (elapsed >= PACE_WINDOW_MS || sent >= PACE_WINDOW_BYTES) {
      const wanted = (sent / elapsed) * CHUNK_MS;
      // Powers of two, so that buffers fit whoever needs one next.
      this.#chunkSize = Math.min(Math.max(2 ** Math.floor(Math.log2(wanted)), SMALLEST_CHUNK), LARGEST_CHUNK);
      this.#windowStart += elapsed;
      this.#windowPosition = this.position;
    }
    return this.#chunkSize;
  }
}

/** Appends to a file from a position on, several chunks at a time where they come faster than the disk takes them. */
export class FileAppender extends Writable {
  readonly #descriptor: number;
  readonly #onAppended: (position: number) => void;
  #position: number;
  #isWriting = false;

  /** @param onAppended told, after each write, how many bytes the file has */
  constructor(file: FileHandle, position: number, onAppended: (position: number) => void) {
    super({ highWaterMark: 256 * 1024 });
    this.#descriptor = file.fd;
    this.#position = position;
    this.#onAppended = onAppended;
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    this.#append([chunk], callback);
  }

  override _writev(chunks: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    this.#append(
      chunks.map(({ chunk }) => chunk),
      callback,
    );
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    // The descriptor must outlive the write under way.
    if (this.#isWriting) this.once('write-settled', () => callback(error));
    else callback(error);
  }

  #append(buffers: Buffer[], callback: (error?: Error | null) => void): void {
    this.#isWriting = true;
    writev(this.#descriptor, buffers, this.#position, (error, written) => {
      this.#isWriting = false;
      if (error === null) this.#advance(written);
      this.emit('write-settled');
      const length = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
      if (error !== null || written === length || this.destroyed) callback(error);
      else this.#append([Buffer.concat(buffers).subarray(written)], callback);
    });
  }

  #advance(written: number): void {
    this.#position += written;
    this.#onAppended(this.#position);
  }
}

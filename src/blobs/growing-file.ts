import { read, write, writev } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { Readable, Writable } from 'node:stream';
import type { ByteRange } from '../oci/descriptor.ts';

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
const CHUNK_MS = 20;

export interface FileStreamOptions {
  readonly source: GrowingFile;
  readonly range: ByteRange;
  readonly signal: AbortSignal;
  /** Called once, when the stream is over, however it ended. */
  readonly onClose: () => void;
}

/**
 * Reads a range of a file that may still grow: each reader at its own pace, none of them holding up another. It ends
 * at its `position` where a {@link StorageFailure} keeps the rest from coming.
 */
export class FileStream extends Readable {
  /** How far it has read. */
  position: number;
  readonly #source: GrowingFile;
  readonly #end: number;
  readonly #onClose: () => void;
  #takeBack: (() => void) | undefined;
  #isReading = false;
  #chunkSize = SMALLEST_CHUNK;
  #lastRead = performance.now();

  constructor({ source, range, signal, onClose }: FileStreamOptions) {
    super({ highWaterMark: 1, signal });
    this.position = range.start;
    this.#source = source;
    this.#end = range.end;
    this.#onClose = onClose;
  }

  override _read(): void {
    if (this.position >= this.#end) {
      this.push(null);
      return;
    }
    const { available, failure, file } = this.#source;
    const length = Math.min(available - this.position, this.#end - this.position, this.#nextChunkSize());
    if (length > 0) {
      this.#readChunk(file.fd, length);
    } else if (failure instanceof StorageFailure) {
      this.push(null);
    } else if (failure !== undefined) {
      this.destroy(failure);
    } else {
      this.#takeBack = this.#source.onChange(() => this._read());
    }
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#takeBack?.();
    // The descriptor must outlive the read under way.
    if (this.#isReading) this.once('read-settled', () => this.#onClose());
    else this.#onClose();
    callback(error);
  }

  #readChunk(descriptor: number, length: number): void {
    const buffer = Buffer.allocUnsafeSlow(length);
    this.#isReading = true;
    read(descriptor, buffer, 0, length, this.position, (error, bytesRead) => {
      this.#isReading = false;
      this.emit('read-settled');
      if (this.destroyed) return;
      if (error !== null) {
        this.destroy(error);
      } else if (bytesRead === 0) {
        this.destroy(new Error('A file of the cache is shorter than it was.'));
      } else {
        this.position += bytesRead;
        this.push(bytesRead === length ? buffer : buffer.subarray(0, bytesRead));
      }
    });
  }

  #nextChunkSize(): number {
    const now = performance.now();
    const taken = now - this.#lastRead;
    this.#lastRead = now;
    if (taken < CHUNK_MS / 2) this.#chunkSize = Math.min(this.#chunkSize * 2, LARGEST_CHUNK);
    else if (taken > CHUNK_MS * 2) this.#chunkSize = Math.max(this.#chunkSize / 2, SMALLEST_CHUNK);
    return this.#chunkSize;
  }
}

/** Appends to a file from a position on, several chunks at a time where they come faster than the disk takes them. */
export class FileAppender extends Writable {
  readonly #descriptor: number;
  readonly #onAppended: (position: number) => void;
  #position: number;

  /** @param onAppended told, after each write, how many bytes the file has */
  constructor(file: FileHandle, position: number, onAppended: (position: number) => void) {
    super({ highWaterMark: 256 * 1024 });
    this.#descriptor = file.fd;
    this.#position = position;
    this.#onAppended = onAppended;
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    write(this.#descriptor, chunk, 0, chunk.length, this.#position, (error, written) => {
      if (error !== null) return callback(error);
      this.#advance(written);
      if (written < chunk.length) this._write(chunk.subarray(written), _encoding, callback);
      else callback();
    });
  }

  override _writev(chunks: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    const buffers = chunks.map(({ chunk }) => chunk);
    const length = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    writev(this.#descriptor, buffers, this.#position, (error, written) => {
      if (error !== null) return callback(error);
      this.#advance(written);
      if (written < length) this._write(Buffer.concat(buffers).subarray(written), 'buffer', callback);
      else callback();
    });
  }

  #advance(written: number): void {
    this.#position += written;
    this.#onAppended(this.#position);
  }
}

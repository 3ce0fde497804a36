import { write } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { Writable } from 'node:stream';
import type { BufferPool } from '../util/buffer-pool.ts';
import type { RecentBytes } from './recent-bytes.ts';

export interface FileAppenderOptions {
  readonly file: FileHandle;
  /** The offset of the first byte. */
  readonly position: number;
  readonly buffers: BufferPool;
  /** Receives the written bytes for readers that keep up; absent if nothing reads the file while it grows. */
  readonly recent?: RecentBytes;
  /** Called after each write with the length of the file. */
  readonly onAppended: (position: number) => void;
}

/** The batch size, in bytes, if they arrive fast. A write then costs as much as copying its bytes. */
const LARGEST_BATCH = 256 * 1024;
/** The batch size for slow fetches, because each of many slow fetches holds one batch. */
const SMALLEST_BATCH = 16 * 1024;
const FIRST_BATCH = 64 * 1024;
/** Maximum milliseconds that bytes wait for more bytes of the same batch. */
const PATIENCE_MS = 5;

/**
 * Appends to a file, in large pieces if bytes arrive fast, and soon if they arrive slowly. Followers of the file see no
 * gaps, because each piece is written after the previous one. Chunks are copied, so that the garbage collector frees
 * them young.
 */
export class FileAppender extends Writable {
  readonly #descriptor: number;
  readonly #buffers: BufferPool;
  readonly #recent: RecentBytes | undefined;
  readonly #onAppended: (position: number) => void;
  #position: number;
  /** The position after the accepted bytes. */
  #accepted: number;
  #limit = Number.POSITIVE_INFINITY;
  /** Set while the writer waits for a higher limit. */
  #isHeld = false;
  #batch: Buffer | undefined;
  /** Bytes of the next batch. */
  #size = FIRST_BATCH;
  /** Received bytes of the batch. */
  #filled = 0;
  #isWriting = false;
  #timer: NodeJS.Timeout | undefined;
  #onIdle: (() => void) | undefined;

  constructor({ file, position, buffers, recent, onAppended }: FileAppenderOptions) {
    super({ highWaterMark: LARGEST_BATCH });
    this.#descriptor = file.fd;
    this.#position = position;
    this.#accepted = position;
    this.#buffers = buffers;
    this.#recent = recent;
    this.#onAppended = onAppended;
  }

  /**
   * Sets the file length at which `write` returns false until a higher limit emits `drain`. Accepted bytes are still
   * written, so that they don't occupy memory.
   */
  set limit(bytes: number) {
    this.#limit = bytes;
    if (!this.#isHeld || this.#accepted >= bytes) return;
    this.#isHeld = false;
    if (!this.writableNeedDrain) this.emit('drain');
  }

  override write(chunk: unknown, ...rest: unknown[]): boolean {
    this.#accepted += (chunk as Uint8Array).length;
    const isReady = super.write(chunk, ...(rest as [BufferEncoding]));
    this.#isHeld = this.#accepted >= this.#limit;
    return isReady && !this.#isHeld;
  }

  /** Suppresses `drain` at the limit. Large chunks would cause it repeatedly, but only a higher limit may emit it. */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    return event === 'drain' && this.#isHeld ? false : super.emit(event, ...args);
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#batch ??= this.#buffers.take(this.#size);
    const copied = chunk.copy(this.#batch, this.#filled);
    this.#filled += copied;
    if (this.#filled < this.#batch.length) {
      this.#flushSoon();
      callback();
      return;
    }
    this.#whenIdle(() => {
      this.#flush();
      if (copied === chunk.length) callback();
      else this._write(chunk.subarray(copied), encoding, callback);
    });
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#whenIdle(() => {
      this.#flush();
      this.#whenIdle(callback);
    });
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    clearTimeout(this.#timer);
    if (this.#batch !== undefined) this.#buffers.give(this.#batch);
    this.#batch = undefined;
    this.#filled = 0;
    // The descriptor must outlive the write under way.
    this.#whenIdle(() => callback(error));
  }

  /** The call to make once no write is in progress. A later call replaces an earlier one. */
  #whenIdle(call: () => void): void {
    if (this.#isWriting) this.#onIdle = call;
    else call();
  }

  #flushSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#isWriting) this.#flushSoon();
      else this.#flush();
    }, PATIENCE_MS);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#batch;
    if (batch === undefined) return;
    const length = this.#filled;
    // Doubles the size of a batch that filled in time, and halves that of one that stayed mostly empty. The pool keeps
    // such sizes.
    if (length === batch.length) this.#size = Math.min(2 * length, LARGEST_BATCH);
    else if (length <= batch.length / 4) this.#size = Math.max(batch.length / 2, SMALLEST_BATCH);
    this.#batch = undefined;
    this.#filled = 0;
    this.#isWriting = true;
    this.#write(batch, 0, length);
  }

  #write(batch: Buffer, start: number, end: number): void {
    write(this.#descriptor, batch, start, end - start, this.#position, (error, written) => {
      if (error === null) this.#position += written;
      if (error === null && start + written < end) {
        this.#write(batch, start + written, end);
        return;
      }
      this.#isWriting = false;
      const release = (): void => this.#buffers.give(batch);
      if (error !== null || this.#recent === undefined) release();
      else this.#recent.add(this.#position - end, batch.subarray(0, end), release);
      if (error === null) this.#onAppended(this.#position);
      const onIdle = this.#onIdle;
      this.#onIdle = undefined;
      if (error !== null && !this.destroyed) this.destroy(error);
      else onIdle?.();
    });
  }
}

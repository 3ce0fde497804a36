import { writev } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { Writable } from 'node:stream';
import type { BufferPool } from '../util/buffer-pool.ts';
import type { RecentBytes } from './recent-bytes.ts';

export interface FileAppenderOptions {
  readonly file: FileHandle;
  /** The offset of the first byte. */
  readonly position: number;
  readonly buffers: BufferPool;
  /** Receives the bytes for readers that keep up; absent if nothing reads the file while it grows. */
  readonly recent?: RecentBytes;
  /** Called when bytes are in `recent`, before they are written, with the position after them. */
  readonly onReceived?: (position: number) => void;
  /** Called after each write with the length of the file. */
  readonly onAppended: (position: number) => void;
}

/**
 * A chunk with at least this many bytes, and at least this share of its underlying memory, is written without a copy.
 * Other chunks are copied to a batch.
 */
const [LARGE_CHUNK, LARGE_SHARE] = [64 * 1024, 1 / 2] as const;
/** The sender must pause once this many bytes wait to be written. One write also has at most this many bytes. */
const MOST_WAITING = 512 * 1024;
/** The batch size, in bytes, if small chunks arrive fast. */
const LARGEST_BATCH = 256 * 1024;
/** The batch size for slow fetches, because each of many slow fetches holds one batch. */
const SMALLEST_BATCH = 16 * 1024;
const FIRST_BATCH = 64 * 1024;
/** Maximum milliseconds that bytes wait for more bytes of the same batch. */
const PATIENCE_MS = 5;

/** Bytes that wait to be written. */
interface Piece {
  readonly bytes: Buffer;
  /** Called once the bytes are written, or once they cannot be written any more. */
  readonly release: () => void;
}

/**
 * Appends to a file, in large writes if bytes arrive fast, and soon if they arrive slowly. Readers that keep up get the
 * bytes from memory and do not wait for the disk. Followers of the file see no gaps, because each write follows the
 * previous one.
 *
 * Large chunks are written from the sender's memory, which it may use again once the callback of `write` is called.
 * Small chunks are copied, so that the garbage collector can free them early.
 */
export class FileAppender extends Writable {
  readonly #descriptor: number;
  readonly #buffers: BufferPool;
  readonly #recent: RecentBytes | undefined;
  readonly #onReceived: (position: number) => void;
  readonly #onAppended: (position: number) => void;
  /** The position after the written bytes. */
  #written: number;
  /** The position after the bytes that readers can get. */
  #received: number;
  /** The position after the accepted bytes. */
  #accepted: number;
  #limit = Number.POSITIVE_INFINITY;
  /** Set while the sender waits for `drain`. */
  #isPaused = false;
  #batch: Buffer | undefined;
  /** Bytes of the next batch. */
  #size = FIRST_BATCH;
  /** Received bytes of the batch. */
  #filled = 0;
  #timer: NodeJS.Timeout | undefined;
  #waiting: Piece[] = [];
  #isWriting = false;
  #onIdle: (() => void) | undefined;

  constructor({ file, position, buffers, recent, onReceived, onAppended }: FileAppenderOptions) {
    super();
    this.#descriptor = file.fd;
    this.#written = position;
    this.#received = position;
    this.#accepted = position;
    this.#buffers = buffers;
    this.#recent = recent;
    this.#onReceived = onReceived ?? (() => {});
    this.#onAppended = onAppended;
  }

  /**
   * Sets the file length at which `write` returns false until a higher limit emits `drain`. Accepted bytes are still
   * written, so that they don't occupy memory.
   */
  set limit(bytes: number) {
    this.#limit = bytes;
    this.#drain();
  }

  override write(chunk: unknown, ...rest: unknown[]): boolean {
    const bytes = chunk as Buffer;
    const release = rest.find((one): one is () => void => typeof one === 'function') ?? (() => {});
    this.#accepted += bytes.length;
    if (this.destroyed) release();
    else if (isLarge(bytes)) {
      this.#sealBatch();
      this.#add(bytes, release);
    } else this.#copy(bytes, release);
    this.#isPaused = !this.#isReady;
    return !this.#isPaused;
  }

  /** Only `end` with a chunk calls this. */
  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    this.write(chunk);
    callback();
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#sealBatch();
    this.#whenIdle(callback);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    clearTimeout(this.#timer);
    if (this.#batch !== undefined) this.#buffers.give(this.#batch);
    this.#batch = undefined;
    for (const { release } of this.#waiting) release();
    this.#waiting = [];
    // The descriptor must outlive the write under way.
    this.#whenIdle(() => callback(error));
  }

  get #isReady(): boolean {
    return this.#accepted < this.#limit && this.#accepted - this.#written < MOST_WAITING;
  }

  #drain(): void {
    if (!this.#isPaused || !this.#isReady) return;
    this.#isPaused = false;
    this.emit('drain');
  }

  /** The call to make once no write is in progress. A later call replaces an earlier one. */
  #whenIdle(call: () => void): void {
    if (this.#isWriting) this.#onIdle = call;
    else call();
  }

  #copy(chunk: Buffer, release: () => void): void {
    for (let at = 0; at < chunk.length; ) {
      this.#batch ??= this.#buffers.take(this.#size);
      const copied = chunk.copy(this.#batch, this.#filled, at);
      this.#filled += copied;
      at += copied;
      if (this.#filled === this.#batch.length) this.#sealBatch();
    }
    release();
    if (this.#batch !== undefined) this.#timer ??= setTimeout(() => this.#sealBatch(), PATIENCE_MS);
  }

  #sealBatch(): void {
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
    this.#add(batch.subarray(0, length), () => this.#buffers.give(batch));
  }

  #add(bytes: Buffer, release: () => void): void {
    let users = 1;
    const leave = (): void => {
      users -= 1;
      if (users === 0) release();
    };
    this.#waiting.push({ bytes, release: leave });
    const start = this.#received;
    this.#received += bytes.length;
    if (this.#recent !== undefined) {
      users += 1;
      this.#recent.add(start, bytes, leave);
    }
    if (!this.#isWriting) this.#writeAll();
    this.#onReceived(this.#received);
  }

  #writeAll(): void {
    const pieces = this.#waiting;
    this.#waiting = [];
    this.#isWriting = true;
    this.#write(
      pieces.map(({ bytes }) => bytes),
      (error) => {
        for (const { release } of pieces) release();
        this.#isWriting = false;
        if (error !== null && !this.destroyed) this.destroy(error);
        if (this.#waiting.length > 0) return this.#writeAll();
        const onIdle = this.#onIdle;
        this.#onIdle = undefined;
        onIdle?.();
      },
    );
  }

  #write(buffers: Buffer[], done: (error: Error | null) => void): void {
    writev(this.#descriptor, buffers, this.#written, (error, count) => {
      if (error !== null) return done(error);
      this.#written += count;
      const rest = without(buffers, count);
      if (rest.length > 0) return this.#write(rest, done);
      this.#onAppended(this.#written);
      done(null);
      this.#drain();
    });
  }
}

const isLarge = ({ length, buffer }: Buffer): boolean =>
  length >= LARGE_CHUNK && length >= buffer.byteLength * LARGE_SHARE;

/** Drops the first bytes of consecutive buffers. */
function without(buffers: readonly Buffer[], bytes: number): Buffer[] {
  let left = bytes;
  return buffers.flatMap((buffer) => {
    const dropped = Math.min(left, buffer.length);
    left -= dropped;
    return dropped === buffer.length ? [] : [buffer.subarray(dropped)];
  });
}

import type { Hash } from 'node:crypto';
import { once } from 'node:events';
import { Readable, type Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { ABORTED, destroyOnAbort } from './aborted.ts';

/**
 * Creates a stream from a generator. Unlike Readable.from, destroying it aborts the generator's signal at once, also
 * while the generator waits.
 */
export function streamFrom(
  generate: (signal: AbortSignal) => AsyncGenerator<Uint8Array, void>,
  signal: AbortSignal,
): Readable {
  const closed = new AbortController();
  const chunks = generate(AbortSignal.any([signal, closed.signal]));
  return new Readable({
    read() {
      chunks.next().then(
        ({ done, value }) => this.push(done ? null : value),
        (error: Error) => this.destroy(error),
      );
    },
    destroy(error, callback) {
      closed.abort(ABORTED);
      callback(error);
    },
  });
}

/** A stream that can write itself to a sink, with buffers that it reuses once the sink has taken them. */
export abstract class DirectStream extends Readable {
  /**
   * Writes the rest to the sink, which stays open. Replaces reading the stream.
   *
   * @param inspect called with each chunk before it is written; an error ends the transfer
   */
  abstract sendTo(sink: Writable, inspect?: Inspect): Promise<void>;

  /** Returns the number of received bytes that can be read without waiting. */
  get ready(): number {
    return 0;
  }

  /** Returns the hash of all bytes that were given so far; undefined if the stream computes none. The caller copies it. */
  hashSoFar(): Hash | undefined {
    return undefined;
  }
}

/** Bytes of a chunk. */
const CHUNK = 64 * 1024;

/**
 * Cuts bytes into chunks, without a copy, to be written as a client reads. Written at once, TLS encrypts all of them into
 * memory that nothing limits.
 */
export function* inChunks(bytes: Uint8Array): Generator<Uint8Array, void> {
  for (let at = 0; at < bytes.length; at += CHUNK) yield bytes.subarray(at, at + CHUNK);
}

type Inspect = (chunk: Uint8Array) => void;

/** Writes a stream to a sink, which stays open; destroying the stream, or the sink, ends it. */
export async function send(stream: Readable, sink: Writable, inspect?: Inspect): Promise<void> {
  if (stream instanceof DirectStream) return stream.sendTo(sink, inspect);
  stream.on('data', (chunk: Uint8Array) => {
    try {
      inspect?.(chunk);
    } catch (error) {
      // Closes the source before the pipe can write the chunk.
      sink.destroy();
      stream.destroy(error as Error);
    }
  });
  const over = finished(stream, { writable: false });
  stream.pipe(sink, { end: false });
  await over;
}

/**
 * Creates a stream from a generator whose chunks are valid only until it yields the next one, so that it can reuse
 * buffers. A reader of the stream gets copies; a sink gets the chunks themselves, one after the other.
 */
export function lend(
  generate: (signal: AbortSignal) => AsyncGenerator<Uint8Array, void>,
  signal: AbortSignal,
): DirectStream {
  return new Lender(generate, signal);
}

class Lender extends DirectStream {
  readonly #closed = new AbortController();
  readonly #chunks: AsyncGenerator<Uint8Array, void>;
  /** Ends the wait for a sink. */
  #abandon: (() => void) | undefined;

  constructor(generate: (signal: AbortSignal) => AsyncGenerator<Uint8Array, void>, signal: AbortSignal) {
    super({ highWaterMark: 1 });
    this.#chunks = generate(AbortSignal.any([signal, this.#closed.signal]));
  }

  async sendTo(sink: Writable, inspect?: Inspect): Promise<void> {
    // The promise reports the result. An unhandled error event would end the process.
    this.on('error', () => {});
    try {
      for await (const chunk of this.#chunks) {
        inspect?.(chunk);
        await this.#write(sink, chunk);
      }
      // Destroying the stream ends the generator, which looks like the end of the data.
      if (this.destroyed) throw new Error('The stream was closed.');
      this.destroy();
    } catch (error) {
      this.destroy(error as Error);
      throw this.errored ?? error;
    }
  }

  override _read(): void {
    this.#chunks.next().then(
      ({ done, value }) => this.push(done ? null : Buffer.from(value)),
      (error: Error) => this.destroy(error),
    );
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#closed.abort();
    this.#abandon?.();
    // Makes a generator that waits for its next call release its resources.
    this.#chunks.return().catch(() => {});
    callback(error);
  }

  #write(sink: Writable, chunk: Uint8Array): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#abandon = () => reject(new Error('The stream was closed.'));
    if (this.destroyed) this.#abandon();
    else sink.write(chunk, (error) => (error ? reject(error) : resolve()));
    return promise;
  }
}

/**
 * Creates one stream from consecutive parts, which it requests on demand. Chunks pass as events, without a promise for
 * each. An incomplete part, or any failure, destroys the whole stream.
 *
 * @param inspect called with each chunk before it is passed on; an error destroys the whole stream
 */
export function relay(
  parts: (signal: AbortSignal) => AsyncGenerator<Uint8Array | Readable, void>,
  signal: AbortSignal,
  inspect?: Inspect,
): Readable {
  return new Relay(parts, signal, inspect);
}

class Relay extends DirectStream {
  readonly #closed = new AbortController();
  readonly #parts: AsyncGenerator<Uint8Array | Readable, void>;
  readonly #inspect: Inspect | undefined;
  #current: Readable | undefined;
  #isWaiting = false;
  #isWanted = false;

  constructor(
    parts: (signal: AbortSignal) => AsyncGenerator<Uint8Array | Readable, void>,
    signal: AbortSignal,
    inspect: Inspect | undefined,
  ) {
    super({ highWaterMark: 1 });
    // The signal of the request destroys the stream, which aborts this one.
    this.#parts = parts(this.#closed.signal);
    this.#inspect = inspect;
    // The last step, because an already aborted signal destroys the stream at once, which must then be complete.
    destroyOnAbort(signal, this);
  }

  override get ready(): number {
    return this.#current instanceof DirectStream ? this.#current.ready : 0;
  }

  async sendTo(sink: Writable, inspect?: Inspect): Promise<void> {
    const inspectBoth = (chunk: Uint8Array): void => {
      this.#inspect?.(chunk);
      inspect?.(chunk);
    };
    // The promise reports the result. An unhandled error event would end the process.
    this.on('error', () => {});
    try {
      for await (const part of this.#parts) {
        if (part instanceof Uint8Array) {
          for (const chunk of inChunks(part)) {
            inspect?.(chunk);
            if (!sink.write(chunk)) await once(sink, 'drain', { signal: this.#closed.signal });
          }
          continue;
        }
        this.#current = part;
        if (this.destroyed) part.destroy();
        await send(part, sink, inspectBoth);
        this.#current = undefined;
      }
      this.destroy();
    } catch (error) {
      this.destroy(error as Error);
      // Report the reason of the destruction, not its effect on the current part.
      throw this.errored ?? error;
    }
  }

  override _read(): void {
    this.#isWanted = true;
    if (this.#current === undefined) this.#next();
    else this.#current.resume();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#closed.abort(ABORTED);
    const part = this.#current;
    this.#current = undefined;
    part?.destroy();
    callback(error);
  }

  #next(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#parts.next().then(
      ({ done, value }) => {
        this.#isWaiting = false;
        if (this.destroyed) {
          // Without a listener, its error would end the process.
          if (value instanceof Readable) value.on('error', () => {}).destroy();
        } else if (done) this.push(null);
        else if (value instanceof Readable) this.#attach(value);
        else this.#isWanted = this.push(value);
      },
      (error: Error) => this.destroy(error),
    );
  }

  #attach(part: Readable): void {
    this.#current = part;
    part.on('data', (chunk: Uint8Array) => {
      try {
        this.#inspect?.(chunk);
      } catch (error) {
        this.destroy(error as Error);
        return;
      }
      // The consumer may have paused the stream meanwhile, so that later chunks stay buffered.
      this.#isWanted = this.push(chunk) && this.readableFlowing !== false;
      if (!this.#isWanted) part.pause();
    });
    part.once('error', (error) => this.destroy(error));
    part.once('end', () => {
      this.#current = undefined;
      if (this.#isWanted) this.#next();
    });
    part.once('close', () => {
      if (this.#current === part) this.destroy(new Error('A part of the stream was cut off.'));
    });
  }
}

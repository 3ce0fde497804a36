import { Readable } from 'node:stream';

/**
 * Makes a stream of what a generator yields. Unlike Readable.from, destroying it aborts the generator's signal at
 * once, also while the generator waits for something that never comes.
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
      closed.abort();
      callback(error);
    },
  });
}

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

/**
 * Makes one stream of parts, one after the other, as they are asked for. Chunks pass as events: no promise is made
 * for each. A part that is cut off, and any failure, destroys the whole.
 *
 * @param inspect sees each chunk of a stream before it is passed on; what it throws destroys the whole
 */
export function relay(
  parts: (signal: AbortSignal) => AsyncGenerator<Uint8Array | Readable, void>,
  signal: AbortSignal,
  inspect?: (chunk: Uint8Array) => void,
): Readable {
  const closed = new AbortController();
  const rest = parts(AbortSignal.any([signal, closed.signal]));
  let current: Readable | undefined;
  let isWaiting = false;
  let isWanted = false;

  const attach = (part: Readable): void => {
    current = part;
    part.on('data', (chunk: Uint8Array) => {
      try {
        inspect?.(chunk);
      } catch (error) {
        whole.destroy(error as Error);
        return;
      }
      isWanted = whole.push(chunk);
      if (!isWanted) part.pause();
    });
    part.once('error', (error) => whole.destroy(error));
    part.once('end', () => {
      current = undefined;
      if (isWanted) next();
    });
    part.once('close', () => {
      if (current === part) whole.destroy(new Error('A part of the stream was cut off.'));
    });
  };
  const next = (): void => {
    if (isWaiting) return;
    isWaiting = true;
    rest.next().then(
      ({ done, value }) => {
        isWaiting = false;
        if (whole.destroyed) {
          // Nobody will hear its error, which would end the process.
          if (value instanceof Readable) value.on('error', () => {}).destroy();
        } else if (done) whole.push(null);
        else if (value instanceof Readable) attach(value);
        else isWanted = whole.push(value);
      },
      (error: Error) => whole.destroy(error),
    );
  };
  const whole: Readable = new Readable({
    highWaterMark: 1,
    signal,
    read() {
      isWanted = true;
      if (current === undefined) next();
      else current.resume();
    },
    destroy(error, callback) {
      closed.abort();
      const part = current;
      current = undefined;
      part?.destroy();
      callback(error);
    },
  });
  return whole;
}

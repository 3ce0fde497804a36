import type { Readable } from 'node:stream';

/**
 * The reason of an abort after the work is over. Without a reason, Node.js creates an error with a stack for each abort,
 * which takes longer than the rest of a short response.
 */
export const ABORTED: DOMException = new DOMException('This operation was aborted', 'AbortError');

/**
 * Destroys a stream when a signal aborts before the stream closes. A stream that writes itself to a sink closes without
 * being read. Node.js's addAbortSignal would then create an error with a stack, which nothing uses.
 *
 * The stream keeps its error for a later reader.
 */
export function destroyOnAbort(signal: AbortSignal, stream: Readable): void {
  const abort = (): void => void stream.destroy(ABORTED);
  // The signal may abort before the stream has a reader. An unhandled error event would end the process.
  stream.on('error', () => {});
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  stream.once('close', () => signal.removeEventListener('abort', abort));
}

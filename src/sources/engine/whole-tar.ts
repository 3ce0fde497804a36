import type { Readable } from 'node:stream';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { engineError } from './engine-error.ts';

/** The end of each tar file: two zero blocks. https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html */
const TAR_END = 1024;

/**
 * Passes a saved archive on, and fails if its end is missing. If saving fails after the first byte, dockerd appends
 * the error as a line of JSON and ends the response normally.
 */
export async function* wholeTar(
  chunks: Readable,
  url: string,
  ended: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  const stop = (): void => void chunks.destroy();
  ended.addEventListener('abort', stop, { once: true });
  let tail: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of chunks as AsyncIterable<Buffer>) {
      tail =
        chunk.length >= TAR_END ? chunk.subarray(-TAR_END) : Buffer.concat([tail, chunk]).subarray(-TAR_END);
      yield chunk;
    }
  } catch (error) {
    ended.throwIfAborted();
    throw engineError(error, url);
  } finally {
    ended.removeEventListener('abort', stop);
    chunks.destroy();
  }
  if (tail.length === TAR_END && tail.every((byte) => byte === 0)) return;
  throw new ServiceError('engine-failed', detail('engine-archive-cut', {}), {
    cause: new Error(
      tail
        .toString('latin1')
        .replace(/[^\x20-\x7e]+/g, ' ')
        .slice(-300),
    ),
  });
}

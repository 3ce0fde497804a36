import type { OnReadOpts, Socket } from 'node:net';
import { createBufferPool } from '../buffer-pool.ts';

/** Memory that connections read into: fresh for each chunk costs page faults, the processor's cache and collections. */
export interface ReadBuffers {
  /** For `net.connect` and `tls.connect`: what comes is read from the socket as from any other. */
  readonly onread: OnReadOpts;
  /**
   * Takes back the memory of a chunk, or of a part of one, which its reader is done with: once for each byte. What
   * nobody gives back is the collector's; a chunk that is not from here is let be.
   */
  release(chunk: Uint8Array): void;
}

/** Where bytes come fast: each turn of the event loop, and each call of the kernel, costs the same for few and many. */
const LARGEST = 256 * 1024;
/** Where they come slowly: every connection holds one. */
const SMALLEST = 16 * 1024;
const FIRST = 64 * 1024;

/** @param keep how many bytes of buffers lie ready at most */
export function createReadBuffers(keep: number): ReadBuffers {
  const pool = createBufferPool(keep);
  const lent = new WeakMap<ArrayBufferLike, { readonly buffer: Buffer; bytes: number }>();
  let next: Buffer | undefined;

  const buffer = (): Buffer => {
    const taken = next ?? pool.take(FIRST);
    next = undefined;
    return taken;
  };
  /** Node calls it as a method of the socket, and asks for that one's next buffer right after. */
  function callback(this: Socket, length: number, into: Uint8Array): boolean {
    const filled = into as Buffer;
    let chunk = filled.subarray(0, length);
    if (isMostlyEmpty(filled, length)) {
      // Of many small chunks that wait for a reader, each would hold a large buffer.
      chunk = Buffer.from(chunk);
      pool.give(filled);
    } else {
      lent.set(filled.buffer, { buffer: filled, bytes: length });
    }
    const wantsMore = this.push(chunk);
    next = pool.take(nextSize(filled, length));
    return wantsMore;
  }

  return {
    onread: { buffer, callback },
    release(chunk) {
      const loan = lent.get(chunk.buffer);
      if (loan === undefined) return;
      loan.bytes -= chunk.length;
      if (loan.bytes > 0) return;
      lent.delete(chunk.buffer);
      pool.give(loan.buffer);
    },
  };
}

const isMostlyEmpty = (buffer: Buffer, filled: number): boolean => filled <= buffer.length / 4;

function nextSize(buffer: Buffer, filled: number): number {
  if (filled === buffer.length) return Math.min(2 * filled, LARGEST);
  return isMostlyEmpty(buffer, filled) ? Math.max(buffer.length / 2, SMALLEST) : buffer.length;
}

import type { OnReadOpts, Socket } from 'node:net';
import { createBufferPool } from '../util/buffer-pool.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';

/**
 * Reusable memory for the bytes that connections read. New memory for each chunk would cost page faults, cache misses,
 * and garbage collections.
 */
export interface ReadBuffers {
  /** For `net.connect`: reads the socket as usual. */
  readonly onread: OnReadOpts;
  /**
   * Takes back the memory of a chunk, or of a part of one, from its reader, once for each byte. The garbage collector
   * frees the rest, and foreign chunks are ignored.
   */
  release(chunk: Uint8Array): void;
}

/** Bytes of a buffer for fast connections. Large buffers save turns of the event loop and system calls. */
const LARGEST = 256 * 1024;
/** Bytes of the buffer until a connection is known to be fast. */
const FIRST = 64 * 1024;
/** Bytes of a buffer for other connections. Each holds one buffer, and more for chunks that wait for the reader. */
const SMALLEST = 16 * 1024;
/** Milliseconds without received bytes after which a connection counts as paused. */
const PAUSE_MS = 50;
/**
 * Bytes without a pause after which a connection counts as fast. Fewer may just have filled the buffers before a slow
 * reader.
 */
const FLOW_BYTES = 4 * 1024 * 1024;

/**
 * @param keep maximum bytes of unused buffers
 * @param now a monotonic clock, in milliseconds
 */
export function createReadBuffers(
  keep: number,
  now: () => number = () => performance.now(),
  caches?: MemoryCaches,
): ReadBuffers {
  const pool = createBufferPool(keep);
  caches?.list({ name: 'read-buffers', limit: keep, bytes: pool.kept, clear: pool.clear });
  const lent = new WeakMap<ArrayBufferLike, { readonly buffer: Buffer; bytes: number }>();
  const flows = new WeakMap<Socket, { at: number; bytes: number }>();
  /** Counts received bytes. Returns their number since the last pause. */
  const count = (socket: Socket, bytes: number): number => {
    const at = now();
    const flow = flows.get(socket) ?? { at: Number.NEGATIVE_INFINITY, bytes: 0 };
    flow.bytes = at - flow.at > PAUSE_MS ? 0 : flow.bytes + bytes;
    flow.at = at;
    flows.set(socket, flow);
    return flow.bytes;
  };

  let next: Buffer | undefined;
  const buffer = (): Buffer => {
    const taken = next ?? pool.take(FIRST);
    next = undefined;
    return taken;
  };
  /** Node.js calls this as a method of the socket, and requests the next buffer of that socket right afterwards. */
  function callback(this: Socket, length: number, into: Uint8Array): boolean {
    const filled = into as Buffer;
    let chunk = filled.subarray(0, length);
    if (isMostlyEmpty(filled, length)) {
      // Otherwise, each of many small waiting chunks would hold a large buffer.
      chunk = Buffer.from(chunk);
      pool.give(filled);
    } else {
      lent.set(filled.buffer, { buffer: filled, bytes: length });
    }
    const wantsMore = this.push(chunk);
    next = pool.take(nextSize(filled, length, count(this, length)));
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

function nextSize(buffer: Buffer, filled: number, flowed: number): number {
  if (flowed === 0) return SMALLEST;
  if (isMostlyEmpty(buffer, filled)) return Math.max(buffer.length / 2, SMALLEST);
  if (filled < buffer.length) return buffer.length;
  return Math.min(2 * filled, flowed < FLOW_BYTES ? FIRST : LARGEST);
}

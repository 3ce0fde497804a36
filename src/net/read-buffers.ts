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
  /** For `tls.connect`: passes records that arrive together as one chunk. Each chunk has a cost of its own. */
  readonly onreadTls: OnReadOpts;
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
/** Maximum bytes of a TLS record. After a shorter one, the sender has probably sent everything. */
const RECORD = 16 * 1024;
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
  /** The bytes of each buffer that its connection or readers use. */
  const used = new WeakMap<ArrayBufferLike, { readonly buffer: Buffer; bytes: number }>();
  const take = (size: number): Buffer => {
    const buffer = pool.take(size);
    used.set(buffer.buffer, { buffer, bytes: size });
    return buffer;
  };
  const release = (chunk: Uint8Array): void => {
    const use = used.get(chunk.buffer);
    if (use === undefined) return;
    use.bytes -= chunk.length;
    if (use.bytes > 0) return;
    used.delete(chunk.buffer);
    pool.give(use.buffer);
  };
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
    const taken = next ?? take(FIRST);
    next = undefined;
    return taken;
  };
  /** Passes the first bytes of the memory that a connection has, and takes the next memory. */
  const pass = (socket: Socket, memory: Buffer, length: number): boolean => {
    // Otherwise, each of many small waiting chunks would hold a large buffer.
    const isCopied = isMostlyEmpty(memory.length, length);
    const chunk = isCopied ? Buffer.from(memory.subarray(0, length)) : memory.subarray(0, length);
    release(isCopied ? memory : memory.subarray(length));
    const wantsMore = socket.push(chunk);
    const { byteLength } = memory.buffer;
    next = take(nextSize(byteLength, memory.byteOffset + length, count(socket, length)));
    return wantsMore;
  };
  /** Node.js calls this as a method of the socket, and requests the next buffer of that socket right afterwards. */
  function callback(this: Socket, length: number, into: Uint8Array): boolean {
    return pass(this, into as Buffer, length);
  }

  const gatherings = new WeakMap<Socket, Gathering>();
  function gather(this: Socket, length: number, into: Uint8Array): boolean {
    const known = gatherings.get(this);
    const gathering = known ?? createGathering(this);
    if (known === undefined) gatherings.set(this, gathering);
    const memory = gathering.extend(into as Buffer);
    const filled = memory.length - into.length + length;
    const rest = memory.subarray(filled);
    if (length < RECORD || rest.length < RECORD) return pass(this, memory, filled);
    gathering.wait(memory.subarray(0, filled));
    next = rest;
    return this.readableLength < this.readableHighWaterMark;
  }

  return { onread: { buffer, callback }, onreadTls: { buffer, callback: gather }, release };
}

/** Whole records of a connection that wait for more. */
interface Gathering {
  /** Returns the memory after them, with them before it. They wait no longer. */
  extend(rest: Buffer): Buffer;
  /** Passes them at the end of this turn of the event loop, unless they are extended before. */
  wait(chunk: Buffer): void;
}

function createGathering(socket: Socket): Gathering {
  let waiting: Buffer | undefined;
  let isScheduled = false;
  const { push, _read: read } = socket;
  const flush = (): void => {
    const chunk = waiting;
    waiting = undefined;
    if (chunk !== undefined && !socket.destroyed) push.call(socket, chunk);
  };
  const schedule = (): void => {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      // Otherwise, the stream would copy waiting chunks into one. Below this mark, it may not call `_read` again.
      if (socket.readableLength < socket.readableHighWaterMark) flush();
    });
  };
  // Node.js decrypts all received bytes, even if the reader pauses the socket.
  socket._read = (size) => {
    if (waiting !== undefined) schedule();
    read.call(socket, size);
  };
  // Node.js ends the stream without a call of `onread`.
  socket.push = (chunk: unknown, ...rest) => {
    if (chunk === null) flush();
    return push.call(socket, chunk, ...rest);
  };
  return {
    extend(rest) {
      const length = waiting?.length ?? 0;
      waiting = undefined;
      return Buffer.from(rest.buffer, rest.byteOffset - length, rest.length + length);
    },
    wait(chunk) {
      waiting = chunk;
      schedule();
    },
  };
}

const isMostlyEmpty = (size: number, filled: number): boolean => filled <= size / 4;

function nextSize(size: number, filled: number, flowed: number): number {
  if (flowed === 0) return SMALLEST;
  if (isMostlyEmpty(size, filled)) return Math.max(size / 2, SMALLEST);
  if (filled < size) return size;
  return Math.min(2 * size, flowed < FLOW_BYTES ? FIRST : LARGEST);
}

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type FileHandle, open } from 'node:fs/promises';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { createAdaptiveChunkSizes } from '../../src/blobs/chunk-size.ts';
import { FileStream, type GrowingFile, StorageFailure } from '../../src/blobs/growing-file.ts';
import type { LentBytes } from '../../src/blobs/recent-bytes.ts';
import { createBufferPool } from '../../src/util/buffer-pool.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import { always, sampleBlob } from './samples.ts';

const buffers = createBufferPool(1_000_000);
const paces = createAdaptiveChunkSizes();
const { bytes } = sampleBlob(1_000_000, 'growing');

interface Sample extends GrowingFile, AsyncDisposable {
  readonly file: FileHandle;
  /** Adds bytes, which may be read at once. */
  grow(to: number): Promise<void>;
  fail(error: Error): void;
  listeners(): number;
}

async function growing(): Promise<Sample> {
  const folder = await temporaryFolder();
  const file = await open(join(folder.path, 'file'), 'w+');
  const listeners = new Set<() => void>();
  let available = 0;
  let failure: Error | undefined;
  const notify = (): void => {
    const calls = [...listeners];
    listeners.clear();
    for (const call of calls) call();
  };
  return {
    file,
    get available() {
      return available;
    },
    get failure() {
      return failure;
    },
    onChange: (call) => {
      listeners.add(call);
      return () => listeners.delete(call);
    },
    grow: async (to) => {
      await file.write(bytes, available, to - available, available);
      available = to;
      notify();
    },
    fail: (error) => {
      failure = error;
      notify();
    },
    listeners: () => listeners.size,
    [Symbol.asyncDispose]: async () => {
      await file.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function read(source: GrowingFile, start: number, end: number, signal = always) {
  let closed = 0;
  const stream = new FileStream({
    source,
    range: { start, end },
    buffers,
    paces,
    signal,
    onClose: () => (closed += 1),
  });
  return { stream, closed: () => closed };
}

suite('reading a file that grows', () => {
  test('sends the available bytes and waits for the rest', async () => {
    await using source = await growing();
    await source.grow(100_000);
    const { stream, closed } = read(source, 0, bytes.length);
    const whole = buffer(stream);
    await waitFor(() => stream.position === 100_000 && source.listeners() === 1);
    for (const to of [100_001, 500_000, bytes.length]) await source.grow(to);
    assert.deepEqual(await whole, bytes);
    assert.equal(closed(), 1);
    assert.equal(source.listeners(), 0);
  });

  for (const [start, end] of [
    [0, 1],
    [0, 0],
    [5, 5],
    [65_535, 65_537],
    [999_999, 1_000_000],
    [123_456, 876_543],
  ] as const) {
    test(`gives exactly bytes ${start} to ${end}`, async () => {
      await using source = await growing();
      await source.grow(bytes.length);
      const { stream, closed } = read(source, start, end);
      assert.deepEqual(await buffer(stream), bytes.subarray(start, end));
      await waitFor(() => closed() === 1);
    });
  }

  test('a reader that does not read holds up neither the others nor the file', async () => {
    await using source = await growing();
    const slow = read(source, 0, bytes.length);
    const fast = read(source, 0, bytes.length);
    await source.grow(300_000);
    const whole = buffer(fast.stream);
    await source.grow(bytes.length);
    assert.deepEqual(await whole, bytes);
    assert.equal(slow.stream.position, 0);
    assert.deepEqual(await buffer(slow.stream), bytes);
  });

  test('gives a sink the bytes that are in memory, and the rest from the file', async () => {
    await using source = await growing();
    await source.grow(bytes.length);
    const marked = Buffer.alloc(100_000, 1);
    let uses = 0;
    const release = (): void => {
      uses -= 1;
    };
    const lend = (position: number): LentBytes | undefined => {
      if (position >= marked.length) return undefined;
      uses += 1;
      return { bytes: marked.subarray(position), release };
    };
    const { stream } = read({ ...source, available: bytes.length, lend }, 0, bytes.length);
    const came: Buffer[] = [];
    const sink = new Writable({
      write(chunk: Buffer, _encoding, callback) {
        assert.equal(uses, came.length === 0 ? 1 : 0);
        came.push(Buffer.from(chunk));
        callback();
      },
    });
    await stream.sendTo(sink);
    assert.deepEqual(Buffer.concat(came), Buffer.concat([marked, bytes.subarray(marked.length)]));
    assert.equal(uses, 0);
  });

  test('releases bytes in memory if the sink is destroyed or the inspection fails', async () => {
    await using source = await growing();
    let uses = 0;
    const release = (): void => {
      uses -= 1;
    };
    const lend = (position: number): LentBytes => {
      uses += 1;
      return { bytes: bytes.subarray(position), release };
    };
    const inMemory = { ...source, available: bytes.length, lend };
    const failing = read(inMemory, 0, bytes.length);
    const inspect = (): void => {
      throw new Error('wrong');
    };
    await assert.rejects(failing.stream.sendTo(new Writable(), inspect), /wrong/);
    assert.equal(uses, 0);
    const cut = read(inMemory, 0, bytes.length);
    // Like a socket, it aborts the write in progress when it is destroyed.
    let endWrite: ((error: Error) => void) | undefined;
    const stuck = new Writable({
      write: (_chunk, _encoding, callback) => {
        endWrite = callback;
      },
      destroy: (error, callback) => {
        endWrite?.(new Error('closed'));
        callback(error);
      },
    });
    const sent = cut.stream.sendTo(stuck);
    assert.equal(uses, 1);
    stuck.destroy();
    cut.stream.destroy();
    await assert.rejects(sent);
    await waitFor(() => uses === 0);
  });

  test('releases bytes in memory once when the sink closes, with or without the callback of its write', async () => {
    await using source = await growing();
    const released: number[] = [];
    let lent = 0;
    const lend = (position: number): LentBytes => {
      const name = lent++;
      return { bytes: bytes.subarray(position), release: () => void released.push(name) };
    };
    const inMemory = { ...source, available: bytes.length, lend };
    const { stream } = read(inMemory, 0, bytes.length);
    // A pipelined response never calls back if its connection ends before its turn.
    const chunks: (() => void)[] = [];
    const sink = new Writable({ write: (_chunk, _encoding, callback) => void chunks.push(callback) });
    const sent = stream.sendTo(sink);
    chunks[0]?.();
    await waitFor(() => chunks.length === 2);
    assert.deepEqual(released, [0]);
    stream.destroy();
    await assert.rejects(sent);
    assert.deepEqual(released, [0], 'the sink still has the bytes');
    sink.destroy();
    await once(sink, 'close');
    assert.deepEqual(released, [0, 1]);
    chunks[1]?.();
    assert.deepEqual(released, [0, 1]);
    const later = read(inMemory, 0, bytes.length);
    const response = new ServerResponse(new IncomingMessage(new Socket()));
    const count = response.listenerCount('close');
    const given = later.stream.sendTo(response);
    assert.equal(response.listenerCount('close'), count, 'a response has many listeners already');
    response.destroy().emit('close');
    later.stream.destroy();
    await assert.rejects(given);
    await waitFor(() => released.length === 3);
  });

  test('gives a sink nothing more before it has what it was given, so that one chunk waits for a slow one', async () => {
    await using source = await growing();
    await source.grow(bytes.length);
    const { stream } = read(source, 0, bytes.length);
    const came: Buffer[] = [];
    let mostWaiting = 0;
    const sink = new Writable({
      highWaterMark: 10 * bytes.length,
      write(chunk: Buffer, _encoding, callback) {
        came.push(Buffer.from(chunk));
        setImmediate(() => {
          mostWaiting = Math.max(mostWaiting, sink.writableLength - chunk.length);
          callback();
        });
      },
    });
    await stream.sendTo(sink);
    assert.deepEqual(Buffer.concat(came), bytes);
    assert.equal(mostWaiting, 0);
  });

  test('ends where a failure of the disk keeps the rest from coming, after all that came', async () => {
    await using source = await growing();
    await source.grow(250_000);
    const { stream, closed } = read(source, 0, bytes.length);
    source.fail(new StorageFailure('full'));
    assert.deepEqual(await buffer(stream), bytes.subarray(0, 250_000));
    assert.equal(stream.position, 250_000);
    assert.equal(closed(), 1);
  });

  test('fails with any other failure, after all that came', async () => {
    await using source = await growing();
    await source.grow(250_000);
    const { stream, closed } = read(source, 0, bytes.length);
    const gone = assert.rejects(buffer(stream), /the registry is gone/);
    await waitFor(() => stream.position === 250_000);
    source.fail(new Error('the registry is gone'));
    await gone;
    assert.equal(closed(), 1);
  });

  test('fails where the file has become shorter', async () => {
    await using source = await growing();
    await source.grow(bytes.length);
    await source.file.truncate(100_000);
    await assert.rejects(buffer(read(source, 0, bytes.length).stream), /shorter/);
  });

  test('is over when it is destroyed, also while it waits', async () => {
    await using source = await growing();
    const { stream, closed } = read(source, 0, bytes.length);
    stream.resume();
    await waitFor(() => source.listeners() === 1);
    stream.destroy();
    await waitFor(() => closed() === 1);
    assert.equal(source.listeners(), 0);
  });

  test('is over when its signal aborts', async () => {
    await using source = await growing();
    const gone = new AbortController();
    const { stream, closed } = read(source, 0, bytes.length, gone.signal);
    const failed = assert.rejects(buffer(stream), { name: 'AbortError' });
    gone.abort();
    await failed;
    assert.equal(closed(), 1);
  });

  test('tells its end where the signal has aborted before it began', async () => {
    await using source = await growing();
    await source.grow(bytes.length);
    const { stream, closed } = read(source, 0, bytes.length, AbortSignal.abort());
    const [error] = await once(stream, 'error', { signal: AbortSignal.timeout(60_000) });
    assert.equal((error as Error).name, 'AbortError');
    assert.equal(closed(), 1);
  });

  test('tells its end only when no read is under way, so that the file may be closed then', async () => {
    await using source = await growing();
    await source.grow(bytes.length);
    const over = Promise.withResolvers<boolean>();
    let isReading = true;
    const range = { start: 0, end: bytes.length };
    const onClose = (): void => over.resolve(isReading);
    const stream = new FileStream({ source, range, buffers, paces, signal: always, onClose });
    stream.once('read-settled', () => {
      isReading = false;
    });
    stream.read(0);
    stream.destroy();
    assert.equal(await over.promise, false);
  });
});

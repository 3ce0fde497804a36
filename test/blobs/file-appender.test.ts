import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { finished, pipeline } from 'node:stream/promises';
import { suite, test } from 'node:test';
import { FileAppender } from '../../src/blobs/file-appender.ts';
import { createRecentBytes, type LentBytes } from '../../src/blobs/recent-bytes.ts';
import { createBufferPool } from '../../src/util/buffer-pool.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import { sampleBlob } from './samples.ts';

/** The bytes that are written at a time. */
const BATCH = 256 * 1024;
const buffers = createBufferPool(4 * BATCH);
const { bytes } = sampleBlob(1_000_000, 'appending');

function appender(
  file: FileHandle,
  position: number,
  onAppended: (position: number) => void = () => {},
): FileAppender {
  return new FileAppender({ file, position, buffers, onAppended });
}

suite('appending to a file', () => {
  const target = async (): Promise<{ file: FileHandle } & AsyncDisposable> => {
    const folder = await temporaryFolder();
    const file = await open(join(folder.path, 'file'), 'w+');
    const dispose = async () => {
      await file.close();
      await folder[Symbol.asyncDispose]();
    };
    return { file, [Symbol.asyncDispose]: dispose };
  };

  test('writes chunks in order from a position on, and reports its progress', async () => {
    await using place = await target();
    await place.file.write(bytes, 0, 1000, 0);
    const told: number[] = [];
    const chunks = Array.from({ length: 1000 }, (_, at) =>
      bytes.subarray(1000 + at * 999, 1000 + (at + 1) * 999),
    );
    await pipeline(
      chunks,
      appender(place.file, 1000, (position) => void told.push(position)),
    );
    assert.deepEqual(await place.file.readFile(), bytes);
    assert.deepEqual(
      told,
      [...told].sort((a, b) => a - b),
    );
    assert.equal(told.at(-1), bytes.length);
  });

  test('fails where the disk is full', async () => {
    const file = await open('/dev/full', 'r+');
    try {
      const appended = pipeline([bytes], appender(file, 0));
      await assert.rejects(appended, { code: 'ENOSPC' });
    } finally {
      await file.close();
    }
  });

  test('closes only when no write is under way, so that the file may be closed then', async () => {
    await using place = await target();
    let told = 0;
    const appending = appender(place.file, 0, (position) => {
      told = position;
    });
    appending.write(Buffer.alloc(BATCH));
    appending.destroy();
    assert.equal(told, 0, 'it is being written');
    await once(appending, 'close');
    assert.equal(told, BATCH);
  });

  test('writes slow chunks soon', async () => {
    await using place = await target();
    const told: number[] = [];
    const appending = appender(place.file, 0, (position) => void told.push(position));
    for (const end of [10, 1000]) {
      appending.write(bytes.subarray(told.at(-1) ?? 0, end));
      await waitFor(() => told.at(-1) === end);
    }
    assert.deepEqual(await place.file.readFile(), bytes.subarray(0, 1000));
    await finished(appending.end());
  });

  test('writes fast small chunks in large pieces', async () => {
    await using place = await target();
    const told: number[] = [];
    const onReceived = (position: number): void => void told.push(position);
    const options = { file: place.file, position: 0, buffers, onReceived, onAppended: () => {} };
    const appending = new FileAppender(options);
    for (let chunk = 0; chunk < 64; chunk++) appending.write(Buffer.alloc(16 * 1024, chunk / 4));
    await finished(appending.end());
    const pieces = told.map((end, at) => end - (told[at - 1] ?? 0));
    assert.deepEqual(pieces.slice(0, -1), [BATCH / 4, BATCH / 2, BATCH, BATCH, BATCH]);
    assert.equal(told.at(-1), 4 * BATCH);
    const written = await place.file.readFile();
    assert.ok(written.every((byte, at) => byte === at >> 16));
  });

  test('writes all waiting large chunks at once, from the memory of their sender', async () => {
    await using place = await target();
    const lengths: number[] = [];
    const released: number[] = [];
    const appending = appender(place.file, 0, (position) => void lengths.push(position));
    const large = [0, 1, 2].map((number) => Buffer.alloc(BATCH / 2, number));
    for (const [number, chunk] of large.entries()) appending.write(chunk, () => released.push(number));
    assert.deepEqual(released, [], 'they are being written');
    await finished(appending.end());
    assert.deepEqual(lengths, [BATCH / 2, (3 * BATCH) / 2]);
    assert.deepEqual(released, [0, 1, 2]);
    assert.deepEqual(await place.file.readFile(), Buffer.concat(large));
  });

  test('copies chunks that are a small part of their memory', async () => {
    await using place = await target();
    const appending = appender(place.file, 0);
    let isReleased = false;
    appending.write(Buffer.alloc(BATCH, 1).subarray(0, BATCH / 2 - 1), () => {
      isReleased = true;
    });
    assert.ok(isReleased);
    await finished(appending.end());
    assert.equal((await place.file.stat()).size, BATCH / 2 - 1);
  });

  test('gives readers the bytes before they are written', async () => {
    await using place = await target();
    const recent = createRecentBytes({
      ...{ budget: { limit: 2 ** 20, held: 0 }, window: 2 ** 20 },
      positions: () => [0],
    });
    const lent: (LentBytes | undefined)[] = [];
    let length = 0;
    let isReleased = false;
    const appending = new FileAppender({
      ...{ file: place.file, position: 0, buffers, recent },
      onReceived: () => void lent.push(recent.lend(0)),
      onAppended: (position) => {
        length = position;
      },
    });
    const chunk = Buffer.alloc(BATCH, 1);
    appending.write(chunk, () => {
      isReleased = true;
    });
    assert.equal(length, 0, 'it is being written');
    assert.equal(lent[0]?.bytes.buffer, chunk.buffer);
    await finished(appending.end());
    recent.clear();
    assert.deepEqual([length, isReleased], [BATCH, false]);
    lent[0]?.release();
    assert.ok(isReleased);
  });

  test('holds back who sends more than the disk takes', async () => {
    await using place = await target();
    const appending = appender(place.file, 0);
    const isReady = [1, 2, 3, 4].map(() => appending.write(Buffer.alloc(BATCH)));
    assert.equal(isReady.at(-1), false);
    await once(appending, 'drain');
    await finished(appending.end());
    assert.equal((await place.file.stat()).size, 4 * BATCH);
  });

  test('accepts no more bytes at its limit, and still writes those that it has', async () => {
    await using place = await target();
    const told: number[] = [];
    const append = appender(place.file, 0, (position) => void told.push(position));
    let drains = 0;
    append.on('drain', () => {
      drains += 1;
    });
    append.limit = 500_000;
    assert.equal(append.write(bytes.subarray(0, 100_000)), true);
    // More than the buffer holds, because draining the buffer alone would emit `drain`.
    assert.equal(append.write(bytes.subarray(100_000, 600_000)), false);
    await waitFor(() => told.at(-1) === 600_000);
    append.limit = 600_000;
    assert.equal(drains, 0);
    append.limit = 600_001;
    assert.equal(drains, 1);
    await finished(append.end(bytes.subarray(600_000)));
    assert.equal(told.at(-1), bytes.length);
  });
});

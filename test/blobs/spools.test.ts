import assert from 'node:assert/strict';
import { appendFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { openBlobCache } from '../../src/blobs/blob-cache.ts';
import { StorageFailure } from '../../src/blobs/growing-file.ts';
import { openSpools, type Spools } from '../../src/blobs/spools.ts';
import { temporaryFolder } from '../support/process.ts';

const never = new AbortController().signal;
const KEY = 'ab'.repeat(32);
const BYTES = Buffer.from(Array.from({ length: 20_000 }, (_, at) => at % 251));

async function openIn(limit = 2 ** 30) {
  const folder = await temporaryFolder();
  const log = { damaged: () => {}, uncached: () => {} };
  const cache = await openBlobCache({ folder: folder.path, limit, log });
  const spools = await openSpools(cache.storage);
  const files = async (): Promise<string[]> =>
    (await Promise.all(['spools', 'incoming'].map((name) => readdir(join(folder.path, name))))).flat();
  return { spools, folder: folder.path, files, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

function fill(spools: Spools, source: Readable, more: { expected?: number; maxSize?: number } = {}) {
  const request = { key: KEY, expected: BYTES.length, maxSize: 2 ** 40, onProgress: () => {}, ...more };
  return spools.fill(request, source, never);
}

suite('spools', () => {
  test('a stream is a file afterwards, whole and in parts', async () => {
    await using made = await openIn();
    assert.equal(await made.spools.find(KEY), undefined);
    const filled = await fill(made.spools, Readable.from([BYTES.subarray(0, 7), BYTES.subarray(7)]));
    const found = await made.spools.find(KEY);
    assert.equal(found?.etag, filled.etag);
    assert.equal(found?.size, BYTES.length);
    assert.deepEqual(await buffer(filled.read(undefined, never)), BYTES);
    assert.deepEqual(await buffer(filled.read({ start: 100, end: 300 }, never)), BYTES.subarray(100, 300));
  });

  test('other bytes have another ETag', async () => {
    await using one = await openIn();
    await using other = await openIn();
    const first = await fill(one.spools, Readable.from([BYTES]));
    const second = await fill(other.spools, Readable.from([BYTES.subarray(1)]));
    assert.notEqual(first.etag, second.etag);
  });

  test('a stream that fails leaves nothing', async () => {
    await using made = await openIn();
    const half = async function* (): AsyncGenerator<Buffer> {
      yield BYTES;
      throw new Error('broken');
    };
    await assert.rejects(fill(made.spools, Readable.from(half())), /broken/);
    assert.deepEqual(await made.files(), []);
  });

  test('one that is too large is refused, and leaves nothing', async () => {
    await using made = await openIn();
    const filling = fill(made.spools, Readable.from([BYTES]), { maxSize: BYTES.length - 1 });
    await assert.rejects(filling, { code: 'image-too-large', status: 403 });
    assert.deepEqual(await made.files(), []);
  });

  test('where there is no room, also where that turns out late, it is a failure of the storage', async () => {
    await using made = await openIn(10_000);
    for (const expected of [BYTES.length, 10]) {
      await assert.rejects(fill(made.spools, Readable.from([BYTES]), { expected }), StorageFailure);
    }
    assert.deepEqual(await made.files(), []);
  });

  test('a file that was written to is made anew', async () => {
    await using made = await openIn();
    await fill(made.spools, Readable.from([BYTES]));
    const [name = ''] = await made.files();
    await appendFile(join(made.folder, 'spools', name), 'x');
    assert.equal(await made.spools.find(KEY), undefined);
    assert.deepEqual(await made.files(), []);
  });
});

import assert from 'node:assert/strict';
import { appendFile, mkdir, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { openBlobCache } from '../../src/blobs/blob-cache.ts';
import { StorageFailure } from '../../src/blobs/growing-file.ts';
import { openSpools, type Spools } from '../../src/blobs/spools.ts';
import { runOrThrow } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import { always, blobFile, filesIn, memorySource, REGISTRY, sampleBlob, TALLY_FILE } from './samples.ts';

const KEY = 'ab'.repeat(32);
const BYTES = Buffer.from(Array.from({ length: 20_000 }, (_, at) => at % 251));

const MIB = 2 ** 20;
/** Longer than a process may use a file without updating its access time. */
const LONG_AGO = new Date(Date.now() - 3_600_000);

async function openIn(limit = 2 ** 30, path?: string) {
  const folder = await temporaryFolder();
  const root = path ?? folder.path;
  const log = { damaged: () => {}, uncached: () => {} };
  const cache = await openBlobCache({ folder: root, limit, log });
  const spools = await openSpools(cache.storage);
  const files = async (): Promise<string[]> =>
    (await Promise.all(['spools', 'incoming'].map((name) => readdir(join(root, name))))).flat();
  const age = async (): Promise<void> => {
    for (const name of await filesIn(root)) {
      const { mtime } = await stat(join(root, name));
      await utimes(join(root, name), LONG_AGO, mtime);
    }
  };
  return {
    cache,
    spools,
    folder: root,
    files,
    age,
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

function fill(spools: Spools, source: Readable, more: { expected?: number; maxSize?: number } = {}) {
  const request = { key: KEY, expected: BYTES.length, maxSize: 2 ** 40, onProgress: () => {}, ...more };
  return spools.fill(request, source, always);
}

suite('spools', () => {
  test('a stream is a file afterwards, whole and in parts', async () => {
    await using made = await openIn();
    assert.equal(await made.spools.find(KEY), undefined);
    const filled = await fill(made.spools, Readable.from([BYTES.subarray(0, 7), BYTES.subarray(7)]));
    const found = await made.spools.find(KEY);
    assert.equal(found?.etag, filled.etag);
    assert.equal(found?.size, BYTES.length);
    assert.deepEqual(await buffer(filled.read(undefined, always)), BYTES);
    assert.deepEqual(await buffer(filled.read({ start: 100, end: 300 }, always)), BYTES.subarray(100, 300));
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

  test('a full disk is a storage failure, even if it shows late', async () => {
    await using made = await openIn(10_000);
    for (const expected of [BYTES.length, 10]) {
      await assert.rejects(fill(made.spools, Readable.from([BYTES]), { expected }), StorageFailure);
    }
    assert.deepEqual(await made.files(), []);
  });

  test('one that is larger than was thought takes as much room as it needs, and little more', async () => {
    await using made = await openIn(8 * MIB);
    const pieces = Array.from({ length: 5 }, () => Buffer.alloc(MIB));
    assert.equal((await fill(made.spools, Readable.from(pieces), { expected: 10 })).size, 5 * MIB);
  });

  test('a file that was written to is made again', async () => {
    await using made = await openIn();
    await fill(made.spools, Readable.from([BYTES]));
    const [name = ''] = await made.files();
    await appendFile(join(made.folder, 'spools', name), 'x');
    assert.equal(await made.spools.find(KEY), undefined);
    assert.deepEqual(await made.files(), []);
  });

  test('one that took long to come is as young as any', async () => {
    await using made = await openIn(BYTES.length + 1000);
    const slow = async function* (): AsyncGenerator<Buffer> {
      yield BYTES;
      const [incoming = ''] = await made.files();
      await utimes(join(made.folder, 'incoming', incoming), LONG_AGO, LONG_AGO);
    };
    await fill(made.spools, Readable.from(slow()));
    assert.equal(await made.cache.storage.reserve(BYTES.length, () => {}), false);
    assert.notEqual(await made.spools.find(KEY), undefined);
  });

  test('one that is held stays, however long its reader pauses', async () => {
    await using made = await openIn(BYTES.length + 1000);
    const held = new AbortController();
    (await fill(made.spools, Readable.from([BYTES]))).hold(held.signal);
    const makeRoom = async (): Promise<boolean> => {
      await made.age();
      return made.cache.storage.reserve(BYTES.length, () => {});
    };
    assert.equal(await makeRoom(), false);
    held.abort();
    assert.equal(await makeRoom(), true);
    assert.deepEqual(await made.files(), []);
  });

  test('one that was removed is a clear error', async () => {
    await using made = await openIn();
    const filled = await fill(made.spools, Readable.from([BYTES]));
    await rm(join(made.folder, 'spools'), { recursive: true });
    await assert.rejects(buffer(filled.read(undefined, always)), { code: 'engine-failed', status: 502 });
  });

  test('the folder of the cache may be deleted while it is used', async () => {
    await using made = await openIn();
    await fill(made.spools, Readable.from([BYTES]));
    await rm(made.folder, { recursive: true });
    assert.equal(await made.spools.find(KEY), undefined);
    const again = await fill(made.spools, Readable.from([BYTES]));
    assert.deepEqual(await buffer(again.read(undefined, always)), BYTES);
  });

  test('a spool goes for a blob, and a blob for a spool', async () => {
    await using made = await openIn(3 * MIB);
    const large = Buffer.alloc(2 * MIB, 'spool');
    const blob = sampleBlob(2 * MIB, 'blob');
    const reader = made.cache.before(memorySource(blob), REGISTRY);
    const kept = async (): Promise<string[]> =>
      (await filesIn(made.folder)).filter((name) => !name.endsWith('.lock') && name !== TALLY_FILE);

    await fill(made.spools, Readable.from([large]), { expected: large.length });
    await made.age();
    assert.ok((await buffer(await reader.read(blob.descriptor, undefined, always))).equals(blob.bytes));
    await waitFor(async () => (await kept()).join() === blobFile(blob.descriptor.digest), {
      what: 'the blob to take the place of the spool',
    });

    await made.age();
    await fill(made.spools, Readable.from([large]), { expected: large.length });
    const [spool = '', ...others] = await kept();
    assert.match(spool, /^spools\//);
    assert.deepEqual(others, []);
  });

  test('a disk that is full in the middle is a failure of the storage, and leaves nothing', {
    skip: process.getuid?.() === 0 ? false : 'a small disk is mounted, which needs root',
  }, async () => {
    await using parent = await temporaryFolder();
    const folder = join(parent.path, 'disk');
    await mkdir(folder);
    await runOrThrow('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', folder]);
    await using made = await openIn(2 ** 30, folder);
    const source = async function* (): AsyncGenerator<Buffer> {
      yield Buffer.alloc(MIB);
      // Another program takes the space that was free a moment ago.
      await writeFile(join(parent.path, 'disk/others'), Buffer.alloc(6 * MIB));
      for (let mebibytes = 0; mebibytes < 5; mebibytes++) yield Buffer.alloc(MIB);
    };
    const filling = fill(made.spools, Readable.from(source()), { expected: 6 * MIB });
    await assert.rejects(filling, (error: Error) => {
      assert.ok(error instanceof StorageFailure);
      assert.match(`${error.cause}`, /ENOSPC/);
      return true;
    });
    assert.deepEqual(await made.files(), []);
  });
});

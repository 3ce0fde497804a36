import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import { type Partition, unparted } from '../../src/archive/parts.ts';
import { type Checksums, createChecksums } from '../../src/download/checksums.ts';
import type { Archive } from '../../src/sources/image-source.ts';
import { createMemoryCaches } from '../../src/util/memory-caches.ts';
import { sampleArchive } from '../http/samples.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const never = new AbortController().signal;
const BYTES = Buffer.from(Array.from({ length: 5000 }, (_, at) => at % 251));
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Creates the checksums of a new process. `clock` is its time in milliseconds. */
const anotherProcess = (folder: string | undefined, clock = () => 1): Checksums =>
  createChecksums(folder, createMemoryCaches(clock));

/** An archive that counts its reads, and waits until the test continues it. */
function countedArchive(gate: Promise<unknown> = Promise.resolve()) {
  const counted = {
    reads: 0,
    archive: sampleArchive({
      size: BYTES.length,
      read: () => {
        counted.reads += 1;
        return Readable.from(
          (async function* () {
            yield BYTES.subarray(0, 777);
            await gate;
            yield BYTES.subarray(777);
          })(),
        );
      },
    }),
  };
  return counted;
}

const compute = (checksums: Checksums, archive: Archive, parts: Partition = unparted(archive.size)) =>
  checksums.compute(archive, [parts], undefined, never).then(([hashes]) => hashes);

suite('checksums', { timeout: 600_000 }, () => {
  test('cover a whole archive, and its parts', async () => {
    const checksums = anotherProcess(undefined);
    const { archive } = countedArchive();
    assert.deepEqual(await compute(checksums, archive), [sha256(BYTES)]);
    for (const partSize of [512, 777, 1000, 2500, 4999]) {
      const count = Math.ceil(BYTES.length / partSize);
      const parts = Array.from({ length: count }, (_, at) =>
        sha256(BYTES.subarray(at * partSize, (at + 1) * partSize)),
      );
      assert.deepEqual(await compute(checksums, archive, { size: BYTES.length, partSize, count }), parts);
    }
  });

  test('are computed once, and known by the ETag from then on, to other processes too', async () => {
    await using folder = await temporaryFolder();
    const { archive } = countedArchive();
    const parts = unparted(archive.size);
    assert.equal(await anotherProcess(folder.path).find(archive.etag, parts), undefined);
    await compute(anotherProcess(folder.path), archive);
    assert.deepEqual(await anotherProcess(folder.path).find(archive.etag, parts), [sha256(BYTES)]);
    assert.equal(await anotherProcess(folder.path).find('"other"', parts), undefined);
    const half = { size: 5000, partSize: 2500, count: 2 };
    assert.equal(await anotherProcess(folder.path).find(archive.etag, half), undefined);

    const again = countedArchive();
    assert.deepEqual(await compute(anotherProcess(folder.path), again.archive), [sha256(BYTES)]);
    assert.equal(again.reads, 0);
  });

  test('are computed once for concurrent requests, and all of them receive the progress', async () => {
    const gate = Promise.withResolvers<void>();
    const counted = countedArchive(gate.promise);
    const checksums = anotherProcess(undefined);
    let [first, second] = [0, 0];
    const parts = unparted(BYTES.length);
    const left = new AbortController();
    const leaving = checksums.compute(
      counted.archive,
      [parts],
      (chunk) => {
        first += chunk.length;
        if (first === 777) left.abort();
      },
      left.signal,
    );
    const staying = checksums.compute(
      counted.archive,
      [parts],
      (chunk) => {
        second += chunk.length;
      },
      never,
    );
    await assert.rejects(leaving, { name: 'AbortError' });
    gate.resolve();
    assert.deepEqual(await staying, [[sha256(BYTES)]]);
    assert.equal(counted.reads, 1);
    assert.equal(first, 777);
    assert.equal(second, BYTES.length);
  });

  test('are missing for a broken archive, and are computed when it is whole', async () => {
    await using folder = await temporaryFolder();
    const checksums = anotherProcess(folder.path);
    const broken = sampleArchive({
      size: BYTES.length,
      read: () =>
        new Readable({
          read() {
            this.destroy(new Error('cut off'));
          },
        }),
    });
    await assert.rejects(compute(checksums, broken), /cut off/);
    assert.deepEqual(await compute(checksums, countedArchive().archive), [sha256(BYTES)]);
  });

  test('are computed again after their file is deleted', async () => {
    await using folder = await temporaryFolder();
    const counted = countedArchive();
    await compute(anotherProcess(folder.path), counted.archive);
    const [sub = ''] = await readdir(join(folder.path, 'checksums'));
    await rm(join(folder.path, 'checksums', sub), { recursive: true });
    await compute(anotherProcess(folder.path), counted.archive);
    assert.equal(counted.reads, 2);
  });

  test('stay in memory for a minute, and are found a second after another process computes them', async () => {
    await using folder = await temporaryFolder();
    let now = 1;
    const one = anotherProcess(folder.path, () => now);
    const { archive } = countedArchive();
    const parts = unparted(BYTES.length);
    assert.equal(await one.find(archive.etag, parts), undefined);
    await compute(anotherProcess(folder.path), archive);
    now += 1_001;
    assert.deepEqual(await one.find(archive.etag, parts), [sha256(BYTES)]);
    await rm(join(folder.path, 'checksums'), { recursive: true });
    assert.deepEqual(await one.find(archive.etag, parts), [sha256(BYTES)]);
    now += 60_001;
    assert.equal(await one.find(archive.etag, parts), undefined);
  });

  test('delay no other request: the event loop runs between two chunks', async () => {
    const chunk = Buffer.alloc(256 * 1024, 'x');
    const size = 400 * chunk.length;
    const large = sampleArchive({
      size,
      read: () => {
        let left = 400;
        return new Readable({
          read() {
            this.push(left > 0 ? chunk : null);
            left -= 1;
          },
        });
      },
    });
    let turns = 0;
    let isOver = false;
    const turn = (): void => {
      turns += 1;
      if (!isOver) setImmediate(turn);
    };
    turn();
    await compute(anotherProcess(undefined), large);
    isOver = true;
    assert.ok(turns > 100, `${turns} turns of the event loop for 400 chunks`);
  });
});

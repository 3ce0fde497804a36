import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { BlobFetch } from '../../src/blobs/blob-fetch.ts';
import { openBlobFiles } from '../../src/blobs/blob-files.ts';
import { StorageFailure } from '../../src/blobs/growing-file.ts';
import type { Room } from '../../src/blobs/room.ts';
import { createBufferPool } from '../../src/buffer-pool.ts';
import type { BlobReader } from '../../src/oci/blob-reader.ts';
import { temporaryFolder, waitFor } from '../support/process.ts';
import { always, memorySource, sampleBlob } from './samples.ts';

const sample = sampleBlob(2_000_000, 'fetch');
const boundless: Room = {
  reserve: async (_bytes, occupy) => {
    await occupy();
    return true;
  },
};
const full: Room = { reserve: async () => false };

interface Setup extends AsyncDisposable {
  readonly fetch: BlobFetch;
  readonly ends: (Error | undefined)[];
}

async function begin(source: BlobReader, room = boundless): Promise<Setup> {
  const folder = await temporaryFolder();
  const files = await openBlobFiles({ folder: folder.path, onDamage: () => {} });
  const ends: (Error | undefined)[] = [];
  const onEnd = (error: Error | undefined): void => void ends.push(error);
  const fetch = new BlobFetch({
    blob: sample.descriptor,
    supplier: 'registry.example',
    files,
    room,
    buffers: createBufferPool(1_000_000),
    source,
    onEnd,
  });
  return { fetch, ends, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

suite('one fetch of one blob', () => {
  test('gives away all but the last 64 KiB before the whole is verified', async () => {
    const gate = Promise.withResolvers<void>();
    const source = memorySource(sample);
    source.behave(() => ({ hold: { at: 1_990_000, until: gate.promise } }));
    await using setup = await begin(source);
    const leave = await setup.fetch.join(always);
    await waitFor(() => setup.fetch.received === 1_990_000);
    assert.equal(setup.fetch.available, 2_000_000 - 64 * 1024);
    gate.resolve();
    await waitFor(() => setup.ends.length === 1);
    assert.equal(setup.fetch.available, 2_000_000);
    assert.deepEqual(setup.ends, [undefined]);
    leave();
    assert.deepEqual(setup.ends, [undefined]);
  });

  test('ends once, at once, when its last reader leaves', async () => {
    const source = memorySource(sample);
    source.behave(() => ({ hold: { at: 500_000, until: new Promise(() => {}) } }));
    await using setup = await begin(source);
    const [one, other] = await Promise.all([setup.fetch.join(always), setup.fetch.join(always)]);
    await waitFor(() => setup.fetch.received === 500_000);
    one();
    assert.deepEqual(setup.ends, []);
    other();
    assert.deepEqual(setup.ends, [undefined]);
    await waitFor(() => source.reads[0]?.state === 'aborted');
    await waitFor(() => setup.fetch.failure !== undefined);
    assert.deepEqual(setup.ends, [undefined]);
  });

  test('goes on when it is mostly done and nobody waits, but not for ever', async (t) => {
    const source = memorySource(sample);
    source.behave(() => ({ hold: { at: 1_900_000, until: new Promise(() => {}) } }));
    await using setup = await begin(source);
    const one = await setup.fetch.join(always);
    await waitFor(() => setup.fetch.received === 1_900_000);
    t.mock.timers.enable({ apis: ['setTimeout'] });
    one();
    const other = await setup.fetch.join(always);
    t.mock.timers.tick(3_600_000);
    assert.deepEqual(setup.ends, [], 'whoever joins is waited for');
    other();
    t.mock.timers.tick(60_000);
    assert.deepEqual(setup.ends, [], 'it may soon be over');
    t.mock.timers.tick(300_000);
    assert.deepEqual(setup.ends, [undefined]);
    t.mock.timers.reset();
    await waitFor(() => source.reads[0]?.state === 'aborted');
  });

  test('ends once, with its failure, though readers leave later', async () => {
    await using setup = await begin(memorySource());
    await assert.rejects(setup.fetch.join(always));
    await turn();
    assert.equal(setup.ends.length, 1);
    assert.equal(setup.ends[0], setup.fetch.failure);
  });

  test('ends once where there is no room, however many have joined', async () => {
    await using setup = await begin(memorySource(sample), full);
    const joined = await Promise.allSettled([setup.fetch.join(always), setup.fetch.join(always)]);
    await turn();
    for (const one of joined) assert.ok(one.status === 'rejected' && one.reason instanceof StorageFailure);
    assert.equal(setup.ends.length, 1);
    assert.ok(setup.ends[0] instanceof StorageFailure);
  });
});

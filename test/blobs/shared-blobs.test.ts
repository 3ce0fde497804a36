import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import type { PatienceLimits } from '../../src/blobs/patience.ts';
import { createSharedBlobs, sharingNothing } from '../../src/blobs/shared-blobs.ts';
import { detail } from '../../src/errors/details.ts';
import { ServiceError } from '../../src/errors.ts';
import type { BlobReader } from '../../src/oci/blob-reader.ts';
import { createMemoryCaches } from '../../src/util/memory-caches.ts';
import { send } from '../../src/util/streams.ts';
import { waitFor } from '../support/wait-for.ts';
import { always, type MemorySource, memorySource, REGISTRY, sampleBlob } from './samples.ts';

const sample = sampleBlob(2_000_000, 'shared');
/** Larger than what stays in memory for the readers of one blob. */
const large = sampleBlob(20_000_000, 'shared-large');

interface Setup {
  readonly source: MemorySource;
  readonly reader: BlobReader;
  readonly other: BlobReader;
  /** Bytes that are held for readers. */
  held(): number;
}

/** Longer than any test. */
const endless: PatienceLimits = { least: 2 ** 28, share: 0 };
/** Bytes of a blob in memory while its fetch waits, with the largest chunk. */
const WINDOW = 8 * 2 ** 20 + 64 * 1024;

function setUp(patience?: PatienceLimits): Setup {
  const source = memorySource(sample, large);
  const caches = createMemoryCaches(() => 0);
  const shared = createSharedBlobs(caches, patience);
  return {
    source,
    reader: shared.before(source, REGISTRY, 'org/app'),
    other: shared.before(source, REGISTRY, 'org/other'),
    held: () => caches.uses().find(({ name }) => name === 'recent-bytes')?.bytes ?? 0,
  };
}

/** A slow client: takes bytes only after `open`. */
function gated() {
  const chunks: Buffer[] = [];
  const opened = Promise.withResolvers<void>();
  const sink = new Writable({
    write(chunk: Buffer, _encoding, callback) {
      chunks.push(Buffer.from(chunk));
      opened.promise.then(() => callback());
    },
  });
  return { sink, open: opened.resolve, bytes: () => Buffer.concat(chunks) };
}

suite('blobs without a disk cache', () => {
  test('come once for readers at the same time, and once more for a later one', async () => {
    const { source, reader, held } = setUp();
    const readers = Array.from({ length: 20 }, async () =>
      buffer(await reader.read(sample.descriptor, undefined, always)),
    );
    for (const bytes of await Promise.all(readers)) assert.deepEqual(bytes, sample.bytes);
    assert.equal(source.reads.length, 1);
    assert.equal(held(), 0);
    assert.deepEqual(await buffer(await reader.read(sample.descriptor, undefined, always)), sample.bytes);
    assert.equal(source.reads.length, 2);
  });

  test('are read once for each reader if nothing is shared', async () => {
    const { source } = setUp();
    const reader = sharingNothing.before(source, REGISTRY, 'org/app');
    const readers = [1, 2].map(async () => buffer(await reader.read(sample.descriptor, undefined, always)));
    for (const bytes of await Promise.all(readers)) assert.deepEqual(bytes, sample.bytes);
    assert.equal(source.reads.length, 2);
  });

  test('come separately for another repository, and for ranges', async () => {
    const { source, reader, other } = setUp();
    const range = { start: 1000, end: 5000 };
    const [one, two, part] = await Promise.all([
      reader.read(sample.descriptor, undefined, always),
      other.read(sample.descriptor, undefined, always),
      reader.read(sample.descriptor, range, always),
    ]);
    assert.deepEqual(await buffer(part), sample.bytes.subarray(range.start, range.end));
    assert.deepEqual(await buffer(one), await buffer(two));
    assert.equal(source.reads.length, 3);
  });

  test('a slow reader holds up no other, and reads the rest itself', async () => {
    const { source, reader, held } = setUp();
    const slow = gated();
    const sent = send(await reader.read(large.descriptor, undefined, always), slow.sink);
    const fast = await buffer(await reader.read(large.descriptor, undefined, always));
    assert.deepEqual(fast, large.bytes);
    assert.equal(source.reads.length, 1);
    assert.ok(held() <= 8 * 2 ** 20, `${held()} bytes held`);
    slow.open();
    await sent;
    assert.deepEqual(slow.bytes(), large.bytes);
    assert.equal(source.reads.length, 2);
    assert.equal(held(), 0);
  });

  test('slow readers hold up no faster one, even if they are many', async () => {
    const { source, reader } = setUp();
    const slow = Array.from({ length: 5 }, async () => {
      const { sink, open, bytes } = gated();
      const sent = send(await reader.read(large.descriptor, undefined, always), sink);
      return { sent, open, bytes };
    });
    const all = await Promise.all(slow);
    const fast = await buffer(await reader.read(large.descriptor, undefined, always));
    assert.deepEqual(fast, large.bytes);
    assert.equal(source.reads.length, 1);
    for (const { open } of all) open();
    for (const { sent, bytes } of all) {
      await sent;
      assert.deepEqual(bytes(), large.bytes);
    }
  });

  test('wait for a reader that is a little slower', async () => {
    const { source, reader, held } = setUp(endless);
    const slow = gated();
    const sent = send(await reader.read(large.descriptor, undefined, always), slow.sink);
    const fast = buffer(await reader.read(large.descriptor, undefined, always));
    await waitFor(() => held() >= 8 * 2 ** 20);
    for (let turns = 0; turns < 50; turns++) await new Promise(setImmediate);
    assert.ok(held() <= WINDOW, `${held()} bytes held`);
    slow.open();
    await sent;
    assert.deepEqual(slow.bytes(), large.bytes);
    assert.deepEqual(await fast, large.bytes);
    assert.equal(source.reads.length, 1);
    assert.equal(held(), 0);
  });

  test('continue when the reader that they wait for leaves', async () => {
    const { source, reader, held } = setUp(endless);
    const slow = await reader.read(large.descriptor, undefined, always);
    const sent = send(slow, gated().sink);
    const fast = buffer(await reader.read(large.descriptor, undefined, always));
    await waitFor(() => held() >= 8 * 2 ** 20);
    slow.destroy();
    await assert.rejects(sent);
    assert.deepEqual(await fast, large.bytes);
    assert.equal(source.reads.length, 1);
  });

  test('wait for readers of the previous blob of the repository', async () => {
    const { source, reader, held } = setUp(endless);
    const slow = gated();
    const sent = send(await reader.read(sample.descriptor, undefined, always), slow.sink);
    assert.deepEqual(await buffer(await reader.read(sample.descriptor, undefined, always)), sample.bytes);
    const next = buffer(await reader.read(large.descriptor, undefined, always));
    await waitFor(() => held() >= 8 * 2 ** 20 + sample.bytes.length);
    slow.open();
    await sent;
    assert.deepEqual(await buffer(await reader.read(large.descriptor, undefined, always)), large.bytes);
    assert.deepEqual(await next, large.bytes);
    assert.equal(source.reads.length, 2);
  });

  test('run no further ahead than one chunk of the fastest reader', async () => {
    const { source, reader } = setUp();
    const slow = gated();
    const stream = await reader.read(large.descriptor, undefined, always);
    const sent = send(stream, slow.sink);
    await waitFor(() => (source.reads[0]?.given ?? 0) > 0);
    for (let turns = 0; turns < 50; turns++) await new Promise(setImmediate);
    const given = source.reads[0]?.given ?? 0;
    assert.ok(given <= 512 * 1024, `${given} bytes`);
    stream.destroy();
    await assert.rejects(sent);
    await waitFor(() => source.reads[0]?.state === 'aborted');
  });

  test('a fetch ends with its last reader, and another reader starts a new one', async () => {
    const { source, reader, held } = setUp();
    source.holdAt(1_000_000);
    const streams = [
      await reader.read(sample.descriptor, undefined, always),
      await reader.read(sample.descriptor, undefined, always),
    ];
    for (const stream of streams) stream.on('error', () => {}).resume();
    await waitFor(() => held() > 900_000);
    streams[0]?.destroy();
    assert.equal(source.reads[0]?.state, 'open');
    streams[1]?.destroy();
    await waitFor(() => source.reads[0]?.state === 'aborted' && held() === 0);
    source.behave(undefined);
    assert.deepEqual(await buffer(await reader.read(sample.descriptor, undefined, always)), sample.bytes);
  });

  test('a failure reaches every reader before the last bytes', async () => {
    const { source, reader, held } = setUp();
    source.behave(() => ({ flip: 1_500_000 }));
    const readers = await Promise.all(
      Array.from({ length: 3 }, () => reader.read(sample.descriptor, undefined, always)),
    );
    for (const stream of readers) {
      await assert.rejects(buffer(stream), (error: ServiceError) => error.code === 'content-mismatch');
    }
    assert.equal(source.reads.length, 1);
    await waitFor(() => held() === 0);
  });

  test('a refusal of one reader does not affect the others, but an outage does', async () => {
    const { source, reader } = setUp();
    const attempt = async (code: 'registry-failed' | 'layer-unavailable'): Promise<number> => {
      const before = source.reads.length;
      const failing: BlobReader = {
        ...source,
        async read(...wanted) {
          await source.read(...wanted);
          throw new ServiceError(code, detail('registry-failed', { host: 'a.io' }));
        },
      };
      const shared = createSharedBlobs(createMemoryCaches(() => 0)).before(failing, REGISTRY, 'org/app');
      const tries = Array.from({ length: 3 }, () => shared.read(sample.descriptor, undefined, always));
      for (const { status } of await Promise.allSettled(tries)) assert.equal(status, 'rejected');
      return source.reads.length - before;
    };
    assert.equal(await attempt('registry-failed'), 1);
    assert.equal(await attempt('layer-unavailable'), 3);
    assert.equal(reader.prefetch, undefined);
  });
});

import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import {
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { type Readable, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { openBlobCache } from '../../src/blobs/blob-cache.ts';
import { BlobFetch } from '../../src/blobs/blob-fetch.ts';
import { markerOf } from '../../src/blobs/blob-files.ts';
import { tryLock } from '../../src/blobs/file-lock.ts';
import { detail } from '../../src/errors/details.ts';
import { ServiceError } from '../../src/errors.ts';
import type { Approach, BlobReader } from '../../src/oci/blob-reader.ts';
import type { ByteRange, Descriptor } from '../../src/oci/descriptor.ts';
import { createMemoryCaches } from '../../src/util/memory-caches.ts';
import { send } from '../../src/util/streams.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  always,
  blobFile,
  fileHandlePrototype,
  incomingFile,
  memorySource,
  REGISTRY,
  type SampleBlob,
  type SampleCache,
  type SampleCacheOptions,
  sampleBlob,
  sampleCache,
  slowDisk,
} from './samples.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const sample = sampleBlob(2 * MIB, 'cache');
const { descriptor, bytes } = sample;

async function download(
  reader: BlobReader,
  blob: SampleBlob = sample,
  range?: ByteRange,
  signal: AbortSignal = always,
): Promise<Buffer> {
  return buffer(await reader.read(blob.descriptor, range, signal));
}

/** A cache before a source of blobs in memory. */
async function cachedSource(blobs: readonly SampleBlob[] = [sample], options?: SampleCacheOptions) {
  const setup = await sampleCache(options);
  const source = memorySource(...blobs);
  return { ...setup, source, reader: setup.cache.before(source, REGISTRY) };
}

/** A reader that is about to reach a blob. */
const near: Approach = { position: 0, onChange: () => () => {} };

/** Readers finish when a blob is verified. It gets its final name a moment later. */
async function isKept(setup: SampleCache, { descriptor: { digest } }: SampleBlob = sample): Promise<void> {
  const isThere = async () =>
    (await setup.files()).includes(blobFile(digest)) && (await setup.locks()).length === 0;
  await waitFor(isThere, { what: `${digest} to be kept` });
}

/** Waits for the incoming file to have a number of bytes. */
async function isWritten(setup: SampleCache, length: number): Promise<void> {
  const path = join(setup.folder, incomingFile(descriptor));
  const has = async () => (await stat(path).catch(() => undefined))?.size === length;
  await waitFor(has, { what: `${length} bytes to be written` });
}

/** Reads at least a number of bytes, then pauses. */
async function readSome(stream: Readable, least: number): Promise<void> {
  let seen = 0;
  stream.on('data', (chunk: Buffer) => {
    seen += chunk.length;
    if (seen >= least) stream.pause();
  });
  await waitFor(() => seen >= least, { what: `${least} bytes` });
}

/** Sets the times of a blob's file to an hour ago, as if it had not been requested since. */
async function age({ folder }: SampleCache, { descriptor: { digest } }: SampleBlob): Promise<void> {
  const path = join(folder, blobFile(digest));
  await utimes(path, new Date(Date.now() - 3_600_000), (await stat(path)).mtime);
}

/** Files of this process that are open in a folder, with those that were removed (Linux). */
async function openIn(folder: string): Promise<number> {
  const links = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  );
  return links.filter((link) => link.startsWith(folder)).length;
}

async function leavesNothingOpen({ folder, locks }: SampleCache): Promise<void> {
  await waitFor(async () => (await openIn(folder)) === 0, { what: 'all files to be closed' });
  assert.deepEqual(await locks(), []);
}

suite('a blob through the cache', () => {
  for (const size of [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 128 * KIB, 3_000_001]) {
    test(`with ${size} bytes is fetched once and then read from the disk`, async () => {
      const blob = sampleBlob(size, `size ${size}`);
      await using setup = await cachedSource([blob]);
      const { source, reader } = setup;
      for (let round = 0; round < 3; round++) assert.deepEqual(await download(reader, blob), blob.bytes);
      await isKept(setup, blob);
      assert.deepEqual(await download(reader, blob), blob.bytes);
      assert.equal(source.reads.length, 1);
      assert.deepEqual(await setup.files(), [blobFile(blob.descriptor.digest)]);
      assert.deepEqual(await readFile(join(setup.folder, blobFile(blob.descriptor.digest))), blob.bytes);
      await leavesNothingOpen(setup);
    });
  }

  test('is there for whoever opens the folder next, and through any repository', async () => {
    await using folder = await temporaryFolder();
    await using first = await sampleCache({ folder: folder.path });
    await download(first.cache.before(memorySource(sample), REGISTRY));
    await isKept(first);
    await using second = await sampleCache({ folder: folder.path });
    const nothing = memorySource();
    assert.deepEqual(await download(second.cache.before(nothing, 'other.example')), bytes);
    assert.equal(nothing.reads.length, 0);
  });

  test('gives any range from the disk', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    await download(reader);
    await isKept(setup);
    for (const [start, end] of [
      [0, 1],
      [1, 2],
      [100_000, 1_000_000],
      [bytes.length - 1, bytes.length],
      [7, 7],
    ] as const) {
      assert.deepEqual(await download(reader, sample, { start, end }), bytes.subarray(start, end));
    }
    assert.equal(source.reads.length, 1);
  });

  test('a range that begins inside a blob that is not there goes straight upstream', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    const range = { start: 500_000, end: 600_000 };
    assert.deepEqual(await download(reader, sample, range), bytes.subarray(500_000, 600_000));
    assert.deepEqual(
      source.reads.map((read) => read.range),
      [range],
    );
    assert.deepEqual(await setup.files(), []);
  });

  test('a range from the first byte on is enough for the cache to be filled', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    const range = { start: 0, end: bytes.length - 100_000 };
    assert.deepEqual(await download(reader, sample, range), bytes.subarray(0, range.end));
    await isKept(setup);
    assert.deepEqual(await download(reader), bytes);
    assert.equal(source.reads.length, 1);
  });

  test('eight ranges of a blob at once wait for the running fetch', async (t) => {
    const joins = t.mock.method(BlobFetch.prototype, 'join').mock;
    await using setup = await cachedSource();
    const { source, reader } = setup;
    const release = source.holdAt(128 * KIB);
    const eighth = bytes.length / 8;
    const starts = Array.from({ length: 8 }, (_, at) => at * eighth);
    const ranges = starts.map((start) => ({ start, end: start + eighth }));
    const first = download(reader, sample, ranges[0]);
    await isWritten(setup, 128 * KIB);
    const rest = ranges.slice(1).map((range) => download(reader, sample, range));
    await waitFor(() => joins.callCount() === 8);
    release();
    assert.deepEqual(Buffer.concat(await Promise.all([first, ...rest])), bytes);
    assert.equal(source.reads.length, 1);
    await isKept(setup);
    await leavesNothingOpen(setup);
  });

  test('a range comes from upstream if the running fetch is too far behind, or too slow', async () => {
    for (const options of [{ readAhead: MIB }, { rangePatience: 1 }]) {
      const gate = Promise.withResolvers<void>();
      await using setup = await cachedSource([sample], options);
      const { source, reader } = setup;
      source.behave((read) =>
        read.range.start === 0 ? { hold: { at: 128 * KIB, until: gate.promise } } : undefined,
      );
      const whole = download(reader);
      await isWritten(setup, 128 * KIB);
      const range = { start: 1.5 * MIB, end: bytes.length };
      assert.deepEqual(await download(reader, sample, range), bytes.subarray(range.start));
      gate.resolve();
      assert.deepEqual(await whole, bytes);
      assert.deepEqual(
        source.reads.map((read) => read.range.start),
        [0, range.start],
      );
    }
  });

  test('a range reads a blob that is stored after it was looked for', async () => {
    await using setup = await cachedSource();
    const { folder, source, reader } = setup;
    await download(reader);
    await isKept(setup);
    const [path, aside] = [join(folder, blobFile(descriptor.digest)), join(folder, 'aside')];
    await rename(path, aside);
    const log = { damaged() {}, uncached() {}, read: () => renameSync(aside, path) };
    const cache = await openBlobCache({ folder, limit: 2 ** 30, log });
    const range = { start: 500_000, end: 600_000 };
    const content = await download(cache.before(source, REGISTRY), sample, range);
    assert.deepEqual(content, bytes.subarray(range.start, range.end));
    assert.equal(source.reads.length, 1);
    await leavesNothingOpen(setup);
  });

  test('a range that a fetch under way has reached joins it', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    const release = source.holdAt(MIB);
    const whole = download(reader);
    await waitFor(() => source.reads[0]?.given === MIB);
    const start = 300_000;
    await waitFor(async () => (await setup.files()).length === 1);
    const joined = await reader.read(descriptor, { start, end: bytes.length }, always);
    const rest = buffer(joined);
    release();
    assert.deepEqual(await rest, bytes.subarray(start));
    assert.deepEqual(await whole, bytes);
    await leavesNothingOpen(setup);
  });

  test('is fetched once by however many ask for it at once', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    const all = await Promise.all(Array.from({ length: 50 }, () => download(reader)));
    for (const one of all) assert.ok(one.equals(bytes));
    assert.equal(source.reads.length, 1);
    await leavesNothingOpen(setup);
  });

  test('is fetched once by two caches of one folder, as two processes have it', async () => {
    await using folder = await temporaryFolder();
    const source = memorySource(sample);
    const release = source.holdAt(MIB);
    await using one = await sampleCache({ folder: folder.path });
    await using other = await sampleCache({ folder: folder.path });
    const readers = [one, other].map(({ cache }) => cache.before(source, REGISTRY));
    const all = readers.flatMap((reader) => Array.from({ length: 5 }, () => download(reader)));
    await waitFor(() => source.reads[0]?.given === MIB);
    release();
    for (const content of await Promise.all(all)) assert.ok(content.equals(bytes));
    assert.equal(source.reads.length, 1);
    await leavesNothingOpen(one);
  });

  test('a reader that stops reading holds up neither the fetch nor the others', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    const slow = await reader.read(descriptor, undefined, always);
    await readSome(slow, 1);
    assert.deepEqual(await download(reader), bytes);
    assert.equal(source.reads[0]?.state, 'ended');
    slow.destroy();
    await leavesNothingOpen(setup);
  });
});

suite('two processes with one folder', () => {
  test('one that followed a wrong fetch leaves alone what the other fetches again', async () => {
    await using folder = await temporaryFolder();
    await using one = await sampleCache({ folder: folder.path });
    await using other = await sampleCache({ folder: folder.path });
    const source = memorySource(sample);
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
    source.behave(() => ({ flip: 5, hold: { at: MIB, until: gates[0].promise } }));
    const reader = one.cache.before(source, REGISTRY);
    const wrong = assert.rejects(download(reader), { code: 'content-mismatch' });
    await isWritten(one, MIB);
    const nothing = memorySource();
    const follower = await other.cache.before(nothing, REGISTRY).read(descriptor, undefined, always);
    await readSome(follower, 1);
    source.behave(() => ({ hold: { at: MIB, until: gates[1].promise } }));
    gates[0].resolve();
    await wrong;
    const again = download(reader);
    await waitFor(() => source.reads.length === 2);
    await assert.rejects(buffer(follower), { code: 'content-mismatch' });
    gates[1].resolve();
    assert.deepEqual(await again, bytes);
    await isKept(one);
    assert.deepEqual(one.uncached, []);
    await leavesNothingOpen(one);
  });

  for (const [received, reads] of [
    [MIB, [0, MIB]],
    [0, [0]],
  ] as const) {
    test(`one that follows ${received} bytes reads the whole blob after another registry's fetch stores it`, async () => {
      await using setup = await cachedSource();
      const { folder, cache, source, reader } = setup;
      const path = join(folder, incomingFile(descriptor));
      await writeFile(path, bytes.subarray(0, received));
      const lock = tryLock(path.replace(/\d+$/, 'lock'));
      const followed = reader.read(descriptor, undefined, always).then(buffer);
      await waitFor(async () => (await openIn(path)) === 1);
      assert.deepEqual(await download(cache.before(source, 'other.example')), bytes);
      await waitFor(async () => (await setup.files()).includes(blobFile(descriptor.digest)));
      lock?.[Symbol.dispose]();
      assert.deepEqual(await followed, bytes);
      await isKept(setup);
      assert.deepEqual(
        source.reads.map(({ range }) => range.start),
        reads,
      );
      await leavesNothingOpen(setup);
    });
  }

  test('the readers of both have the blob once it is verified, however long the disk takes', {
    timeout: 120_000,
  }, async (t) => {
    await using folder = await temporaryFolder();
    await using one = await sampleCache({ folder: folder.path });
    await using other = await sampleCache({ folder: folder.path });
    const source = memorySource(sample);
    const release = source.holdAt(MIB);
    const disk = await slowDisk(t, folder.path);
    const both = [one, other].map(({ cache }) => download(cache.before(source, REGISTRY)));
    await waitFor(() => source.reads[0]?.given === MIB);
    release();
    for (const content of await Promise.all(both)) assert.ok(content.equals(bytes));
    assert.ok(!(await one.files()).includes(blobFile(descriptor.digest)), 'it is not on the disk yet');
    // A further reader neither waits nor sends a request to the registry.
    assert.deepEqual(await download(other.cache.before(source, REGISTRY)), bytes);
    disk.finish();
    await isKept(one);
    assert.equal(source.reads.length, 1);
    await leavesNothingOpen(one);
  });
});

suite('failures upstream', () => {
  test('the last bytes stay back until all are verified, and a wrong blob gets no name', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    // The source of the rest of a blob cannot verify the whole, so the cache must.
    const written = Promise.withResolvers<void>();
    source.behave((read) =>
      read.range.start === 0
        ? { hold: { at: MIB, until: written.promise }, fail: { at: MIB, error: gone() } }
        : { flip: 1_500_000 },
    );
    const failed = assert.rejects(download(reader), { code: 'registry-failed' });
    await isWritten(setup, MIB);
    written.resolve();
    await failed;
    assert.deepEqual(await setup.files(), [incomingFile(descriptor)]);

    let received = 0;
    const stream = await reader.read(descriptor, undefined, always);
    stream.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    await assert.rejects(buffer(stream), { code: 'content-mismatch' });
    assert.ok(received < bytes.length, `${received} bytes of ${bytes.length}`);
    assert.deepEqual(await setup.files(), [], 'what is wrong is not gone on with');

    source.behave(undefined);
    assert.deepEqual(await download(reader), bytes);
    await leavesNothingOpen(setup);
  });

  test('bytes before a failure stay, and a Range request continues after them', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    const written = Promise.withResolvers<void>();
    const hold = { at: MIB, until: written.promise };
    source.behave(() => ({ hold, fail: { at: MIB, error: gone() } }));
    const failed = assert.rejects(download(reader), { code: 'registry-failed' });
    await isWritten(setup, MIB);
    written.resolve();
    await failed;
    source.behave(undefined);
    assert.deepEqual(await download(reader), bytes);
    assert.deepEqual(
      source.reads.map(({ range }) => range.start),
      [0, MIB],
    );
  });

  test('a failure reaches all readers, and the next request starts again', async () => {
    await using setup = await cachedSource([]);
    const { reader } = setup;
    for (let round = 0; round < 3; round++) {
      const all = await Promise.allSettled([1, 2, 3].map(() => download(reader)));
      for (const one of all) {
        assert.equal(one.status === 'rejected' && one.reason.code, 'layer-unavailable');
      }
    }
    assert.deepEqual(setup.uncached, []);
    await leavesNothingOpen(setup);
  });

  test('an outage reaches all readers after the attempts of one', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    source.behave(() => ({
      fail: {
        at: 0,
        error: new ServiceError('registry-failed', detail('registry-failed', { host: 'a.io' })),
      },
    }));
    const all = await Promise.allSettled(Array.from({ length: 50 }, () => download(reader)));
    for (const one of all) assert.equal(one.status === 'rejected' && one.reason.code, 'registry-failed');
    assert.equal(source.reads.length, 1);
    source.behave(() => undefined);
    assert.ok((await download(reader)).equals(bytes));
    await leavesNothingOpen(setup);
  });

  test('a failure that is final is for the one who asked, and the others ask for themselves', async () => {
    const gate = Promise.withResolvers<void>();
    const broken: BlobReader = {
      read: async () => {
        await gate.promise;
        throw new ServiceError('registry-failed', detail('redirects-exceeded', { host: 'a.io' }), {
          isFinal: true,
        });
      },
    };
    await using setup = await sampleCache();
    const failed = assert.rejects(download(setup.cache.before(broken, REGISTRY)));
    await waitFor(async () => (await setup.files()).length > 0);
    const served = download(setup.cache.before(memorySource(sample), REGISTRY));
    await turn();
    gate.resolve();
    await failed;
    assert.ok((await served).equals(bytes));
  });

  test('a descriptor that lies about the size does not spoil the blob for others', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    const gate = Promise.withResolvers<void>();
    source.behave(({ range }) =>
      range.end === bytes.length ? undefined : { hold: { at: 0, until: gate.promise } },
    );
    const lie = { ...descriptor, size: MIB };
    const lied = reader
      .read(lie, undefined, always)
      .then(buffer)
      .catch((error) => error);
    await waitFor(() => source.reads.length === 1);
    const honest = download(reader);
    await turn();
    gate.resolve();
    assert.equal((await lied).code, 'content-mismatch');
    assert.ok((await honest).equals(bytes));
  });

  test('a repository that lacks the blob does not spoil it for one that has it', async () => {
    const gate = Promise.withResolvers<void>();
    const lacking: BlobReader = {
      read: async () => {
        await gate.promise;
        throw new ServiceError(
          'layer-unavailable',
          detail('blob-missing', { host: 'a.io', digest: 'sha256:0' }),
        );
      },
    };
    await using setup = await sampleCache();
    const failed = assert.rejects(download(setup.cache.before(lacking, REGISTRY)));
    await waitFor(async () => (await setup.files()).length > 0);
    const served = download(setup.cache.before(memorySource(sample), REGISTRY));
    await turn();
    gate.resolve();
    await failed;
    assert.ok((await served).equals(bytes));
  });
});

suite('a blob that a stranger sends', () => {
  const foreign = (author: string): Descriptor => ({
    ...descriptor,
    mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar',
    urls: [`https://${author}.example/layer`],
  });

  for (const [title, supplier, what] of [
    ['another registry', 'evil.example', descriptor],
    ['whom an image names', REGISTRY, foreign('evil')],
  ] as const) {
    test(`and never whole is not what others wait for: ${title}`, async () => {
      const source = memorySource(sample);
      source.holdAt(MIB);
      await using setup = await sampleCache();
      const slow = await setup.cache.before(source, supplier).read(what, undefined, always);
      await readSome(slow, 1);
      const honest = memorySource(sample);
      assert.deepEqual(await download(setup.cache.before(honest, REGISTRY)), bytes);
      assert.equal(honest.reads.length, 1);
      slow.destroy();
      await waitFor(() => source.reads[0]?.state === 'aborted');
    });

    test(`and left half done is not gone on with: ${title}`, async () => {
      const source = memorySource(sample);
      source.behave(() => ({ flip: 5, fail: { at: MIB, error: gone() } }));
      await using setup = await sampleCache();
      const stream = await setup.cache.before(source, supplier).read(what, undefined, always);
      await assert.rejects(buffer(stream), { code: 'registry-failed' });
      assert.deepEqual(await download(setup.cache.before(memorySource(sample), REGISTRY)), bytes);
    });
  }

  test('is fetched once for all images that name the same place', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    await Promise.all(
      [1, 2, 3].map(async () => buffer(await reader.read(foreign('vendor'), undefined, always))),
    );
    assert.equal(source.reads.length, 1);
  });
});

suite('readers that leave', () => {
  test('the fetch ends when the last has gone, and the next goes on by Range', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    source.behave(({ range }) =>
      range.start === 0 ? { hold: { at: MIB, until: new Promise(() => {}) } } : undefined,
    );
    const [one, other] = await Promise.all([1, 2].map(() => reader.read(descriptor, undefined, always)));
    await Promise.all([one, other].map((stream) => stream && readSome(stream, 500_000)));
    await isWritten(setup, MIB);
    one?.destroy();
    await turn();
    assert.equal(source.reads[0]?.state, 'open', 'the other one still reads');
    other?.destroy();
    await waitFor(() => source.reads[0]?.state === 'aborted');
    assert.deepEqual(await download(reader), bytes);
    assert.deepEqual(
      source.reads.map(({ range }) => range),
      [
        { start: 0, end: bytes.length },
        { start: MIB, end: bytes.length },
      ],
    );
    await leavesNothingOpen(setup);
  });

  test('the fetch goes on when most is there', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    const release = source.holdAt(1_800_000);
    const stream = await reader.read(descriptor, undefined, always);
    await readSome(stream, 1_700_000);
    stream.destroy();
    await turn();
    assert.equal(source.reads[0]?.state, 'open');
    release();
    await isKept(setup);
    await leavesNothingOpen(setup);
  });

  test('one that has left before it began leaves nothing behind', async () => {
    await using setup = await sampleCache();
    const reader = setup.cache.before(memorySource(sample), REGISTRY);
    await download(reader);
    await isKept(setup);
    const leaving = new AbortController();
    const opened = reader.read(descriptor, undefined, leaving.signal);
    leaving.abort();
    await assert.rejects(opened.then((stream) => buffer(stream)));
    await waitFor(async () => (await openIn(setup.folder)) === 0, { what: 'the file to be closed' });
  });

  test('one that leaves while its fetch begins ends it', async () => {
    const blobs = Array.from({ length: 20 }, (_, at) => sampleBlob(256 * KIB, `leaving ${at}`));
    await using setup = await cachedSource([...blobs]);
    const { source, reader } = setup;
    source.holdAt(0);
    for (const [at, blob] of blobs.entries()) {
      const leaving = new AbortController();
      reader.read(blob.descriptor, undefined, leaving.signal).then(
        (stream) => stream.on('error', () => {}).resume(),
        () => {},
      );
      for (let turns = 0; turns < at; turns++) await turn();
      leaving.abort();
    }
    await waitFor(() => source.reads.every(({ state }) => state !== 'open'), { what: 'the fetch to end' });
    await waitFor(async () => (await openIn(setup.folder)) === 0, { what: 'no open file' });
  });

  test('come and go as they like: the next ones get the right bytes', async () => {
    const blob = sampleBlob(5 * MIB, 'come and go');
    await using setup = await cachedSource([blob]);
    const { reader } = setup;
    for (let round = 0; round < 40; round++) {
      const leaving = await reader.read(blob.descriptor, undefined, always);
      await readSome(leaving, ((round * 37) % 64) * 50 * KIB + 1);
      // One reader joins in the same turn of the event loop in which the last one leaves, and one a turn later.
      leaving.destroy();
      const joining = await reader.read(blob.descriptor, undefined, always);
      await readSome(joining, 1);
      joining.destroy();
      await turn();
      assert.ok((await download(reader, blob)).equals(blob.bytes), `round ${round}`);
      await rm(join(setup.folder, blobFile(blob.descriptor.digest)), { force: true });
    }
    assert.deepEqual(setup.uncached, []);
    assert.deepEqual(setup.damaged, []);
    await leavesNothingOpen(setup);
  });
});

suite('files of an earlier process', () => {
  const leave = async ({ folder }: SampleCache, content: Uint8Array): Promise<string> => {
    const path = join(folder, incomingFile(descriptor));
    await mkdir(join(folder, 'incoming'), { recursive: true });
    await writeFile(path, content);
    return path;
  };

  for (const length of [0, 1, 64 * KIB, MIB, bytes.length - 1, bytes.length]) {
    test(`${length} bytes of a blob are hashed again, and the rest is fetched`, async () => {
      await using setup = await cachedSource();
      const { source, reader } = setup;
      await leave(setup, bytes.subarray(0, length));
      assert.deepEqual(await download(reader), bytes);
      const fetched = source.reads.reduce((sum, { range }) => sum + range.end - range.start, 0);
      assert.equal(fetched, bytes.length - length);
      await isKept(setup);
      assert.deepEqual(await setup.files(), [blobFile(descriptor.digest)]);
    });
  }

  test('a range that begins in it has the rest fetched, for everyone, and one that begins behind it has not', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    await leave(setup, bytes.subarray(0, MIB));
    const ranges = [MIB + 1, MIB].map((start) => ({ start, end: bytes.length }));
    for (const range of ranges) {
      assert.deepEqual(await download(reader, sample, range), bytes.subarray(range.start));
    }
    assert.deepEqual(
      source.reads.map((read) => read.range),
      ranges,
    );
    await isKept(setup);
    assert.deepEqual(await download(reader), bytes);
    assert.equal(source.reads.length, 2);
  });

  for (const [what, content] of [
    ['other bytes', Buffer.alloc(MIB, 7)],
    ['a whole blob with one wrong bit', withWrongBit()],
  ] as const) {
    test(`${what} never get the name of the blob, and the next download is right`, async () => {
      await using setup = await cachedSource();
      const { reader } = setup;
      await leave(setup, content);
      await assert.rejects(download(reader), { code: 'content-mismatch' });
      assert.deepEqual(await setup.files(), []);
      assert.deepEqual(await download(reader), bytes);
    });
  }

  test('more bytes than the blob has are discarded', async () => {
    const source = memorySource(sample);
    await using setup = await sampleCache();
    await leave(setup, Buffer.concat([bytes, bytes]));
    assert.deepEqual(await download(setup.cache.before(source, REGISTRY)), bytes);
    assert.equal(source.reads[0]?.range.start, 0);
    await isKept(setup);
    assert.equal((await stat(join(setup.folder, blobFile(descriptor.digest)))).size, bytes.length);
  });

  test('a blob that was verified and sealed, and not yet renamed, is not fetched again', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    await download(reader);
    await isKept(setup);
    await rename(
      join(setup.folder, blobFile(descriptor.digest)),
      join(setup.folder, incomingFile(descriptor)),
    );
    assert.deepEqual(await download(reader), bytes);
    assert.deepEqual(
      source.reads
        .slice(1)
        .map(({ given }) => given)
        .filter(Boolean),
      [],
    );
  });

  test('a fetch that goes on with them ends with the cache, at whatever moment', async () => {
    for (let turns = 0; turns < 20; turns++) {
      await using setup = await sampleCache();
      await leave(setup, bytes.subarray(0, MIB));
      const read = download(setup.cache.before(memorySource(sample), REGISTRY));
      for (let turned = 0; turned < turns; turned++) await turn();
      await setup.cache.close();
      // The bytes are right, or broken off. An unhandled error would end the process.
      const come = await read.catch(() => bytes);
      assert.deepEqual(come, bytes);
    }
  });

  for (const [what, written] of [
    ['bytes', () => new Date()],
    ['a blob that was sealed', () => markerOf(descriptor.digest)],
  ] as const) {
    test(`${what} from before the machine started: discarded, for a power cut may have left holes`, async (t) => {
      const source = memorySource(sample);
      await using setup = await sampleCache();
      const path = await leave(setup, Buffer.alloc(bytes.length));
      await utimes(path, new Date(), written());
      // The marker of the last write before the start of a machine that has just started.
      t.mock.timers.enable({ apis: ['Date'], now: Date.now() + uptime() * 1000 + 60_000 });
      assert.deepEqual(await download(setup.cache.before(source, REGISTRY)), bytes);
      assert.equal(source.reads[0]?.range.start, 0);
    });
  }

  test('a later reader gets no bytes from before the machine started', {
    timeout: 120_000,
  }, async (t) => {
    await using setup = await sampleCache();
    const path = await leave(setup, Buffer.alloc(bytes.length));
    await utimes(path, new Date(), markerOf(descriptor.digest));
    const lock = tryLock(path.replace(/\d+$/, 'lock'));
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() + uptime() * 1000 + 60_000 });
    const looks = t.mock.method(await fileHandlePrototype(setup.folder), 'stat').mock;
    const source = memorySource(sample);
    const followed = download(setup.cache.before(source, REGISTRY));
    await waitFor(() => looks.callCount() > 2);
    lock?.[Symbol.dispose]();
    assert.deepEqual(await followed, bytes);
    assert.equal(source.reads[0]?.range.start, 0);
  });
});

suite('a blob that was changed on the disk', () => {
  for (const [what, change] of [
    ['overwritten', (path: string) => writeFile(path, Buffer.alloc(bytes.length))],
    ['cut short', (path: string) => truncate(path, 1000)],
    ['removed', (path: string) => rm(path)],
  ] as const) {
    test(`is fetched again: ${what}`, async () => {
      await using setup = await cachedSource();
      const { source, reader } = setup;
      await download(reader);
      await isKept(setup);
      await change(join(setup.folder, blobFile(descriptor.digest)));
      assert.deepEqual(await download(reader), bytes);
      await isKept(setup);
      assert.deepEqual(await download(reader), bytes);
      assert.equal(source.reads.length, 2);
      assert.deepEqual(setup.damaged, what === 'removed' ? [] : [descriptor.digest]);
    });
  }

  test('breaks the download that is reading it when it gets shorter', async () => {
    await using setup = await sampleCache();
    const reader = setup.cache.before(memorySource(sample), REGISTRY);
    await download(reader);
    await isKept(setup);
    const stream = await reader.read(descriptor, undefined, always);
    await readSome(stream, 1);
    await truncate(join(setup.folder, blobFile(descriptor.digest)), 400_000);
    await assert.rejects(buffer(stream), /shorter/);
    assert.deepEqual(await download(reader), bytes);
  });
});

suite('fetching ahead', () => {
  test('starts a blob without readers, for a later reader', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    reader.prefetch?.(descriptor, near, always);
    await isKept(setup);
    assert.deepEqual(await download(reader), bytes);
    assert.equal(source.reads.length, 1);
  });

  test('ends with the download that wanted it', async () => {
    await using setup = await cachedSource();
    const { source, reader } = setup;
    source.holdAt(MIB);
    const leaving = new AbortController();
    reader.prefetch?.(descriptor, near, leaving.signal);
    await waitFor(() => source.reads[0]?.given === MIB);
    leaving.abort();
    await waitFor(() => source.reads[0]?.state === 'aborted');
    await leavesNothingOpen(setup);
  });

  test('keeps no stored or received file open', async () => {
    const there = sampleBlob(64 * KIB, 'there');
    await using setup = await cachedSource([there, sample]);
    const { source, reader } = setup;
    await download(reader, there);
    await isKept(setup, there);
    await leavesNothingOpen(setup);
    await age(setup, there);
    const path = join(setup.folder, blobFile(there.descriptor.digest));
    const { atimeMs } = await stat(path);
    for (const { descriptor: blob } of [there, sample]) reader.prefetch?.(blob, near, always);
    await isKept(setup);
    await leavesNothingOpen(setup);
    assert.equal(source.reads.length, 2);
    assert.ok((await stat(path)).atimeMs > atimeMs, 'what is announced is in use');
  });

  test('says what goes wrong, as the reading does', async () => {
    await using setup = await sampleCache();
    const reader = setup.cache.before(memorySource(), REGISTRY);
    await assert.rejects(async () => reader.prefetch?.(descriptor, near, always), {
      code: 'layer-unavailable',
    });
    await assert.rejects(download(reader), { code: 'layer-unavailable' });
  });

  const many = Array.from({ length: 20 }, (_, at) => sampleBlob(64 * KIB, `ahead ${at}`));

  test('is bounded for each registry', async () => {
    await using setup = await cachedSource([...many]);
    const { source, reader } = setup;
    const release = source.holdAt(0);
    for (const blob of many) reader.prefetch?.(blob.descriptor, near, always);
    const elsewhere = setup.cache.before(source, 'other.example');
    elsewhere.prefetch?.(many[19]?.descriptor ?? descriptor, near, always);
    await waitFor(() => source.reads.length === 9);
    release();
    await waitFor(async () => (await setup.files()).filter((file) => file.startsWith('blobs')).length === 9);
    assert.equal(source.reads.length, 9);
  });

  test('stays bounded after blobs that found no room', async () => {
    await using setup = await cachedSource([...many, sample], { limit: sample.bytes.length - 1 });
    const { source, reader } = setup;
    const gate = Promise.withResolvers<void>();
    source.behave(({ digest }) =>
      digest === descriptor.digest ? undefined : { hold: { at: 0, until: gate.promise } },
    );
    // Twenty of the small files fit into the limit, but the sample does not.
    for (const blob of many.slice(0, 5)) reader.prefetch?.(blob.descriptor, near, always);
    await waitFor(() => source.reads.length === 5);
    for (let round = 0; round < 3; round++) assert.deepEqual(await download(reader), bytes);
    const before = source.reads.length;
    for (const blob of many.slice(5, 8)) reader.prefetch?.(blob.descriptor, near, always);
    await waitFor(() => source.reads.length === before + 3);
    for (const blob of many.slice(8)) reader.prefetch?.(blob.descriptor, near, always);
    // A fetch from another registry shows that all expected fetches have started.
    setup.cache.before(source, 'other.example').prefetch?.(many[19]?.descriptor ?? descriptor, near, always);
    await waitFor(() => source.reads.some(({ digest }) => digest === many[19]?.descriptor.digest));
    assert.equal(source.reads.length, before + 4);
    gate.resolve();
  });
});

suite('a cache that cannot keep a blob', () => {
  test('lets it pass through where it is larger than the cache, and says so', async () => {
    await using setup = await cachedSource([sample], { limit: MIB });
    const { reader } = setup;
    assert.deepEqual(await download(reader), bytes);
    assert.deepEqual(await setup.files(), []);
    assert.deepEqual(
      setup.uncached.map(({ digest, reason }) => [digest, reason.message]),
      [[descriptor.digest, 'The cache has no room']],
    );
    await leavesNothingOpen(setup);
  });

  test('lets it pass through where the folder has gone meanwhile', async () => {
    await using setup = await cachedSource();
    const { reader } = setup;
    await rm(setup.folder, { recursive: true });
    assert.deepEqual(await download(reader), bytes);
    assert.ok(setup.uncached.length > 0);
  });

  test('gives all that is being read where the folder goes meanwhile', async () => {
    const source = memorySource(sample);
    const release = source.holdAt(MIB);
    await using setup = await sampleCache();
    const whole = download(setup.cache.before(source, REGISTRY));
    await waitFor(() => source.reads[0]?.given === MIB);
    await rm(setup.folder, { recursive: true });
    release();
    assert.deepEqual(await whole, bytes);
  });

  const inTheWay = async (where: string): Promise<void> => {
    await using setup = await sampleCache();
    await mkdir(join(setup.folder, where), { recursive: true });
    const reader = setup.cache.before(memorySource(sample), REGISTRY);
    const stream = await reader.read(descriptor, undefined, always);
    const limit = setTimeout(() => stream.destroy(new Error('it waits for ever')), 60_000);
    assert.deepEqual(await buffer(stream).finally(() => clearTimeout(limit)), bytes);
    assert.equal(setup.uncached.length, 1);
  };

  // An unhandled error, which would end the server, fails the test.
  test('lets it pass through where a folder stands in the place of the incoming file', () =>
    inTheWay(incomingFile(descriptor)));

  test('lets it pass through where a folder stands in the place of the blob', () =>
    inTheWay(blobFile(descriptor.digest)));
});

suite('eviction', () => {
  const limit = 10 * MIB;
  const keep = async (setup: SampleCache, reader: BlobReader, blob: SampleBlob): Promise<void> => {
    assert.ok((await download(reader, blob)).equals(blob.bytes));
    await isKept(setup, blob);
  };
  const has = async (setup: SampleCache, { descriptor: { digest } }: SampleBlob): Promise<boolean> =>
    (await setup.files()).includes(blobFile(digest));
  const [a, b, c] = ['a', 'b', 'c'].map((seed) => sampleBlob(4 * MIB, seed)) as [
    SampleBlob,
    SampleBlob,
    SampleBlob,
  ];

  test('removes the blob that was not asked for for longest', async () => {
    await using setup = await sampleCache({ limit });
    const reader = setup.cache.before(memorySource(a, b, c), REGISTRY);
    for (const blob of [a, b]) await keep(setup, reader, blob);
    for (const blob of [a, b]) await age(setup, blob);
    await download(reader, a);
    await keep(setup, reader, c);
    assert.deepEqual(await Promise.all([a, b, c].map((blob) => has(setup, blob))), [true, false, true]);
  });

  test('never removes one that is read from the disk', async () => {
    await using setup = await sampleCache({ limit });
    const reader = setup.cache.before(memorySource(a, b, c), REGISTRY);
    for (const blob of [a, b]) await keep(setup, reader, blob);
    const stream = await reader.read(a.descriptor, undefined, always);
    await readSome(stream, 1);
    for (const blob of [a, b]) await age(setup, blob);
    await keep(setup, reader, c);
    assert.deepEqual(await Promise.all([a, b, c].map((blob) => has(setup, blob))), [true, false, true]);
    stream.destroy();
  });

  test('never removes one whose fetch is over while a reader that followed it still reads', async () => {
    await using setup = await sampleCache({ limit });
    const reader = setup.cache.before(memorySource(a, b, c), REGISTRY);
    const stream = await reader.read(a.descriptor, undefined, always);
    await readSome(stream, 1);
    await isKept(setup, a);
    await keep(setup, reader, b);
    for (const blob of [a, b]) await age(setup, blob);
    await keep(setup, reader, c);
    assert.deepEqual(await Promise.all([a, b, c].map((blob) => has(setup, blob))), [true, false, true]);
    stream.destroy();
  });

  test('never removes one that is read in another process, however slowly', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    await using folder = await temporaryFolder();
    await using setup = await cachedSource([a, b, c], { limit, folder: folder.path });
    const { source, reader } = setup;
    await using other = await sampleCache({ limit, folder: folder.path });
    for (const blob of [a, b]) await keep(setup, reader, blob);
    const hit = await other.cache.before(source, REGISTRY).read(a.descriptor, undefined, always);
    await readSome(hit, 1);
    for (const blob of [a, b]) await age(setup, blob);
    t.mock.timers.tick(10_000);
    const path = join(setup.folder, blobFile(a.descriptor.digest));
    await waitFor(async () => (await stat(path)).atimeMs > Date.now() - 30_000, { what: 'it to be touched' });
    await keep(setup, reader, c);
    assert.deepEqual(await Promise.all([a, b, c].map((blob) => has(setup, blob))), [true, false, true]);
    hit.destroy();
  });

  test('a size that a manifest states, and of which no byte comes, removes nothing', async () => {
    await using setup = await sampleCache({ limit: 1024 * MIB });
    const reader = setup.cache.before(memorySource(a), REGISTRY);
    await keep(setup, reader, a);
    await age(setup, a);
    const stated = { ...b.descriptor, size: 1024 * MIB - 1 };
    await assert.rejects(download(reader, { ...b, descriptor: stated }), { code: 'layer-unavailable' });
    assert.equal(await has(setup, a), true);
  });

  test('a blob that finds no room passes through and is kept the next time, when there is some', async () => {
    await using setup = await cachedSource([a, b, c], { limit });
    const { reader } = setup;
    for (const blob of [a, b]) await keep(setup, reader, blob);
    assert.ok((await download(reader, c)).equals(c.bytes));
    assert.equal(await has(setup, c), false);
    assert.equal(setup.uncached.length, 1);
    for (const blob of [a, b]) await age(setup, blob);
    await keep(setup, reader, c);
  });
});

suite('the unused buffers', () => {
  test('take at most 1 MiB after many readers have begun with chunks of different sizes', async () => {
    const caches = createMemoryCaches(() => performance.now());
    await using setup = await sampleCache({ caches });
    const reader = setup.cache.before(memorySource(sample), REGISTRY);
    await download(reader);
    await isKept(setup);
    const held: (() => void)[] = [];
    const sink = (): Writable => new Writable({ write: (_chunk, _encoding, done) => void held.push(done) });
    const streams = await Promise.all(
      Array.from({ length: 40 }, () => reader.read(descriptor, undefined, always)),
    );
    const ends = streams.map((stream) => assert.rejects(send(stream, sink())));
    await waitFor(() => held.length === streams.length, { what: 'all readers to hold a chunk' });
    for (const stream of streams) stream.destroy();
    for (const release of held) release();
    await Promise.all(ends);
    const { bytes: unused = 0 } = caches.uses().find(({ name }) => name === 'file-buffers') ?? {};
    assert.ok(unused > 0 && unused <= MIB, `${unused} bytes`);
  });
});

function gone(): ServiceError {
  return new ServiceError('registry-failed', detail('registry-down', { host: 'a.io' }));
}

function withWrongBit(): Buffer {
  const wrong = Buffer.from(bytes);
  wrong[1_234_567] = (wrong[1_234_567] ?? 0) ^ 1;
  return wrong;
}

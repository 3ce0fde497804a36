import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { verifiedReader, verifiedRest } from '../../src/blobs/verified-reader.ts';
import type { ServiceError } from '../../src/errors.ts';
import type { BlobReader } from '../../src/oci/blob-reader.ts';
import type { ByteRange } from '../../src/oci/descriptor.ts';
import { digestHash } from '../../src/oci/digest.ts';
import { waitFor } from '../support/wait-for.ts';
import { always, memorySource, REGISTRY, sampleBlob, sampleCache } from './samples.ts';

const MIB = 2 ** 20;
const sample = sampleBlob(2 * MIB, 'parts');
const { descriptor, bytes } = sample;
const WHOLE = { start: 0, end: bytes.length };
const PARTS: readonly ByteRange[] = [
  { start: 0, end: 1 },
  { start: 0, end: MIB },
  { start: 5, end: 6 },
  { start: 400_000, end: 1_500_000 },
  { start: MIB, end: bytes.length },
  { start: bytes.length - 1, end: bytes.length },
];

/** Returns the received bytes of a part, also if it broke off. */
async function received(reader: BlobReader, range: ByteRange): Promise<{ bytes: Buffer; error: unknown }> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of await reader.read(descriptor, range, always)) chunks.push(chunk);
    return { bytes: Buffer.concat(chunks), error: undefined };
  } catch (error) {
    return { bytes: Buffer.concat(chunks), error };
  }
}

suite('parts of a blob that has to be verified', () => {
  test('are those of the whole, which is read once where it is kept, and each time elsewhere', async () => {
    await using setup = await sampleCache();
    const [behind, bare] = [memorySource(sample), memorySource(sample)];
    const cached = verifiedReader(setup.cache.before(behind, REGISTRY));
    for (const range of PARTS) {
      for (const reader of [cached, verifiedReader(bare)])
        assert.ok((await received(reader, range)).bytes.equals(bytes.subarray(range.start, range.end)));
    }
    assert.deepEqual(
      behind.reads.map((read) => read.range),
      [WHOLE],
    );
    assert.deepEqual(
      bare.reads.map((read) => read.range),
      PARTS.map(() => WHOLE),
    );
  });

  test('are not given away by the cache before the whole is there', async () => {
    const source = memorySource(sample);
    const release = source.holdAt(2 * MIB - 64 * 1024);
    await using setup = await sampleCache();
    const reader = verifiedReader(setup.cache.before(source, REGISTRY));
    let isFirstHere = false;
    const stream = await reader.read(descriptor, { start: 0, end: MIB }, always);
    const part = buffer(stream.on('data', () => (isFirstHere = true)));
    await waitFor(() => source.reads[0]?.given === 2 * MIB - 64 * 1024, { what: 'most of it to be here' });
    assert.equal(isFirstHere, false);
    release();
    assert.ok((await part).equals(bytes.subarray(0, MIB)));
  });

  test('are empty for a wrong blob with a cache, and incomplete without one', async () => {
    for (const flip of [10, bytes.length - 10]) {
      for (const range of PARTS) {
        await using setup = await sampleCache();
        const source = memorySource(sample);
        source.behave(() => ({ flip }));
        const cached = await received(verifiedReader(setup.cache.before(source, REGISTRY)), range);
        assert.deepEqual(
          [cached.bytes.length, (cached.error as { code: string }).code],
          [0, 'content-mismatch'],
        );
        const bare = await received(verifiedReader(source), range);
        assert.equal((bare.error as { code: string }).code, 'content-mismatch');
        assert.ok(bare.bytes.length < range.end - range.start);
      }
    }
  });

  test('are verified where the cache cannot keep it, too', async () => {
    await using setup = await sampleCache();
    await rm(join(setup.folder, 'incoming'), { recursive: true });
    await writeFile(join(setup.folder, 'incoming'), 'in the way');
    const source = memorySource(sample);
    const reader = verifiedReader(setup.cache.before(source, REGISTRY));
    const range = { start: 100, end: MIB };
    assert.ok((await received(reader, range)).bytes.equals(bytes.subarray(range.start, range.end)));
    source.behave(() => ({ flip: bytes.length - 10 }));
    const { bytes: some, error } = await received(reader, range);
    assert.equal((error as { code: string }).code, 'content-mismatch');
    assert.ok(some.length < range.end - range.start);
    assert.equal(setup.uncached.length, 2);
  });

  test('end all work behind them with whoever leaves', async () => {
    const source = memorySource(sample);
    source.holdAt(MIB);
    await using setup = await sampleCache();
    for (const reader of [setup.cache.before(source, REGISTRY), source]) {
      const leaving = new AbortController();
      const stream = await verifiedReader(reader).read(
        descriptor,
        { start: 0, end: MIB + 1 },
        leaving.signal,
      );
      const over = assert.rejects(buffer(stream));
      await waitFor(() => source.reads.at(-1)?.given === MIB, { what: 'the work to be under way' });
      leaving.abort();
      await over;
      await waitFor(() => source.reads.at(-1)?.state === 'aborted', { what: 'the work to end' });
    }
  });

  test('leave whole blobs as they are', async () => {
    const source = memorySource(sample);
    const release = source.holdAt(MIB);
    await using setup = await sampleCache();
    const stream = await verifiedReader(setup.cache.before(source, REGISTRY)).read(descriptor, WHOLE, always);
    let seen = 0;
    const whole = buffer(stream.on('data', (chunk: Buffer) => (seen += chunk.length)));
    await waitFor(() => seen > 0, { what: 'the first bytes' });
    release();
    assert.ok((await whole).equals(bytes));
  });
});

suite('the rest of a blob', () => {
  const half = descriptor.size / 2;
  const restOf = (last: Buffer): Readable => {
    const before = digestHash(descriptor.digest).update(bytes.subarray(0, half));
    return verifiedRest(Readable.from([bytes.subarray(half, -1000), last]), descriptor, before, always);
  };

  test('ends if the whole blob has its digest', async () => {
    assert.deepEqual(await buffer(restOf(bytes.subarray(-1000))), bytes.subarray(half));
  });

  test('fails before its last chunk if the blob has another digest', async () => {
    const came: Buffer[] = [];
    const stream = restOf(Buffer.alloc(1000)).on('data', (chunk: Buffer) => came.push(chunk));
    const [error] = (await once(stream, 'error')) as [ServiceError];
    assert.equal(error.code, 'content-mismatch');
    assert.equal(Buffer.concat(came).length, half - 1000);
  });
});

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Readable, type Writable } from 'node:stream';
import { suite, test } from 'node:test';
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { DamagedData, decompress, shareChunks } from '../../src/util/decompress.ts';
import { DirectStream } from '../../src/util/streams.ts';

const TEXT = Buffer.from('some text '.repeat(30_000));
const SKIPPABLE = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
const zstd = (bytes: Uint8Array, checksum = 0): Buffer =>
  zstdCompressSync(bytes, { params: { [constants.ZSTD_c_checksumFlag]: checksum } });

async function unpack(bytes: Buffer, chunk = bytes.length): Promise<Buffer> {
  const chunks = Array.from({ length: Math.ceil(bytes.length / chunk) }, (_, at) =>
    bytes.subarray(at * chunk, (at + 1) * chunk),
  );
  const found: Buffer[] = [];
  for await (const part of decompress(Readable.from(chunks))) found.push(Buffer.from(part));
  return Buffer.concat(found);
}

/** Sends packed bytes in chunks of 64 KiB, always in the same memory. */
class CountedSource extends DirectStream {
  given = 0;
  mostInUse = 0;
  readonly #packed: Buffer;

  constructor(packed: Buffer) {
    super();
    this.#packed = packed;
  }

  async sendTo(sink: Writable): Promise<void> {
    const memory = Buffer.alloc(64 * 1024);
    let inUse = 0;
    for (let at = 0; at < this.#packed.length; at += memory.length) {
      const length = this.#packed.copy(memory, 0, at);
      this.given += 1;
      inUse += 1;
      this.mostInUse = Math.max(this.mostInUse, inUse);
      await new Promise<void>((resolve, reject) => {
        sink.write(memory.subarray(0, length), (error) => (error ? reject(error) : resolve()));
      });
      inUse -= 1;
    }
  }
}

suite('decompress', () => {
  const inputs: Readonly<Record<string, readonly [packed: Buffer, unpacked: Buffer]>> = {
    nothing: [Buffer.alloc(0), Buffer.alloc(0)],
    'plain bytes': [TEXT, TEXT],
    'two plain bytes': [Buffer.from('ab'), Buffer.from('ab')],
    gzip: [gzipSync(TEXT), TEXT],
    'gzip of several members': [
      Buffer.concat([gzipSync(TEXT), gzipSync('more')]),
      Buffer.concat([TEXT, Buffer.from('more')]),
    ],
    'gzip with zeros after it': [Buffer.concat([gzipSync(TEXT), Buffer.alloc(3000)]), TEXT],
    zstd: [zstd(TEXT), TEXT],
    'zstd of several frames, some skippable': [
      Buffer.concat([
        SKIPPABLE,
        zstd(TEXT, 1),
        SKIPPABLE,
        zstd(Buffer.alloc(300_000)),
        zstd(Buffer.alloc(0)),
        SKIPPABLE,
      ]),
      Buffer.concat([TEXT, Buffer.alloc(300_000)]),
    ],
  };
  for (const [what, [packed, unpacked]] of Object.entries(inputs))
    test(`reads ${what}, in chunks of any size`, async () => {
      assert.ok((await unpack(packed)).equals(unpacked));
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: 5000 }), async (chunk) => {
          assert.ok((await unpack(packed, packed === TEXT ? 4096 : chunk)).equals(unpacked));
        }),
        { numRuns: 10 },
      );
    });

  const wide = zstdCompressSync(Buffer.alloc(600_000_000), {
    params: { [constants.ZSTD_c_windowLog]: 28, [constants.ZSTD_c_enableLongDistanceMatching]: 1 },
  });
  const damaged: Readonly<Record<string, Buffer>> = {
    'gzip that is cut off': gzipSync(TEXT).subarray(0, 300),
    'gzip with a wrong checksum': Buffer.concat([gzipSync(TEXT).subarray(0, -8), Buffer.alloc(8)]),
    'data after gzip': Buffer.concat([gzipSync(TEXT), Buffer.from('rest')]),
    'zstd that is cut off': zstd(TEXT).subarray(0, -3),
    'zstd that is cut off in its first bytes': Buffer.concat([zstd(TEXT), Buffer.from([0x28, 0xb5])]),
    'data after zstd': Buffer.concat([zstd(TEXT), Buffer.from('rest')]),
    'a zstd window of 256 MiB': wide,
  };
  for (const [what, bytes] of Object.entries(damaged))
    test(`refuses ${what}`, async () => {
      await assert.rejects(unpack(bytes, 4096), DamagedData);
    });

  test('fails with the error of its source', async () => {
    const source = Readable.from(
      (async function* () {
        yield gzipSync(TEXT).subarray(0, 200);
        throw new RangeError('the source');
      })(),
    );
    await assert.rejects(async () => {
      for await (const _ of decompress(source));
    }, RangeError);
  });

  for (const [kind, packed] of [
    ['gzip', gzipSync(TEXT)],
    ['zstd', zstd(TEXT)],
    ['plain bytes', TEXT],
  ] as const)
    test(`fails with the error of the inspection of ${kind}`, async () => {
      for (const last of [1, 5]) {
        let count = 0;
        const inspect = (): void => {
          count += 1;
          if (count === last) throw new RangeError('the inspection');
        };
        const chunks = Array.from({ length: 9 }, (_, at) => packed.subarray(at * 3, (at + 1) * 3));
        await assert.rejects(async () => {
          for await (const _ of decompress(Readable.from(chunks), { inspect }));
        }, RangeError);
      }
    });

  test('ends if other data follows the zeros after gzip', async () => {
    const packed = Buffer.concat([gzipSync(TEXT), Buffer.alloc(5000), gzipSync(TEXT)]);
    // Zlib reports the other data, unless its stream is over before.
    await unpack(packed, 1000).catch((error) => assert.ok(error instanceof DamagedData));
  });

  for (const [kind, packed] of [
    ['gzip', gzipSync(Buffer.alloc(3_000_000, 'a'))],
    ['zstd', zstd(Buffer.alloc(3_000_000, 'a'))],
  ] as const)
    test(`frees a full chunk of ${kind} when the next one is requested`, async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of decompress(Readable.from([packed]))) {
        assert.ok(chunk.every((byte) => byte === 0x61));
        chunks.push(chunk);
      }
      const kept = chunks.filter(({ buffer }) => buffer.byteLength > 0);
      assert.ok(chunks.length > 5 && kept.length < 3, `${kept.length} of ${chunks.length}`);
    });

  for (const [size, ahead] of [
    [512 * 1024, 3],
    [16 * 1024, 2],
  ] as const)
    test(`decompresses ${ahead} chunks of ${size} bytes ahead of a reader that waits, and few more`, async () => {
      const packed = gzipSync(Buffer.alloc(8 * 2 ** 20));
      /** Counts the chunks that wait after the reader has paused for some turns of the event loop. */
      const waitingAfter = async (turns: number): Promise<number> => {
        const chunks = decompress(Readable.from([packed]), { chunkSize: size });
        await chunks.next();
        for (let turn = 0; turn < turns; turn++) await turnOfEventLoop();
        let isOver = false;
        const turn = turnOfEventLoop().then(() => {
          isOver = true;
        });
        let count = 0;
        for (;;) {
          const next = await Promise.race([chunks.next(), turn]);
          if (isOver || next?.done) break;
          count += 1;
        }
        await chunks.return();
        return count;
      };
      let most = 0;
      for (let turns = 1; turns <= 4096 && most < ahead; turns *= 2)
        most = Math.max(most, await waitingAfter(turns));
      // The loop ends at the number that is wanted. Without a bound, a longer pause would let more chunks wait.
      most = Math.max(most, await waitingAfter(4096));
      // One of them may still be with the other thread, which can also finish further ones while they are counted.
      assert.ok(most >= ahead - 1 && most <= 2 * ahead, `${most} chunks`);
    });

  test('gives large chunks to a few readers, and small ones to many', async () => {
    const packed = gzipSync(Buffer.alloc(1_000_000));
    const start = async () => {
      const chunks = decompress(Readable.from([packed]));
      const { value } = await chunks.next();
      return { chunks, size: value?.length ?? 0 };
    };
    const readers = [];
    for (let count = 0; count < 300; count++) readers.push(await start());
    const sizes = readers.map(({ size }) => size);
    assert.deepEqual(sizes.slice(0, 2), [512 * 1024, 256 * 1024]);
    assert.ok(
      sizes.slice(16, 64).every((size) => size <= 64 * 1024),
      sizes.join(),
    );
    assert.ok(
      sizes.slice(64).every((size) => size === 16 * 1024),
      sizes.join(),
    );
    assert.ok(sizes.reduce((sum, size) => sum + size) <= 300 * 32 * 1024);
    for (const { chunks } of readers) await chunks.return();
    const last = await start();
    assert.equal(last.size, 512 * 1024);
    await last.chunks.return();
  });

  test('counts readers before they read, so that many that begin at once get small chunks', () => {
    const shares = Array.from({ length: 100 }, shareChunks);
    const all = shares.reduce((sum, { chunkSize }) => sum + chunkSize, 0);
    assert.ok(all < 4 * 2 ** 20, `${all} bytes`);
    for (const share of shares) share[Symbol.dispose]();
    using last = shareChunks();
    assert.equal(last.chunkSize, 512 * 1024);
  });

  test('accepts one packed chunk at a time, and no other one while its reader is paused', async () => {
    const source = new CountedSource(gzipSync(randomBytes(2 ** 20)));
    const chunks = decompress(source, { chunkSize: 16 * 1024 });
    await chunks.next();
    for (let turn = 0; turn < 4096; turn++) await turnOfEventLoop();
    assert.equal(source.given, 1);
    let length = 16 * 1024;
    for await (const chunk of chunks) length += chunk.length;
    assert.equal(length, 2 ** 20);
    assert.equal(source.mostInUse, 1);
  });

  const noise = randomBytes(4 * 2 ** 20);
  for (const [kind, packed] of [
    ['gzip', gzipSync(noise)],
    ['zstd', zstd(noise)],
    ['plain bytes', noise],
  ] as const)
    test(`copies chunks of ${kind} that a source replaces while they are decompressed`, async () => {
      const source = new CountedSource(packed);
      const found: Buffer[] = [];
      for await (const chunk of decompress(source, { chunkSize: 512 * 1024 })) found.push(Buffer.from(chunk));
      assert.ok(Buffer.concat(found).equals(noise));
      assert.equal(source.mostInUse, 1);
    });

  test('ends its source when reading stops', async () => {
    const source = Readable.from([gzipSync(TEXT), gzipSync(TEXT)]);
    for await (const _ of decompress(source)) break;
    assert.ok(source.destroyed);
  });
});

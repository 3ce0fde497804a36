import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { suite, test } from 'node:test';
import { createAdaptiveChunkSize, createAdaptiveChunkSizes } from '../../src/blobs/chunk-size.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const one = (): number => 1;

/** Returns the chunk size of a reader after some seconds at a steady rate. */
function sizeAt(bytesPerSecond: number, seconds = 5): number {
  let now = 0;
  const pace = createAdaptiveChunkSize(one, () => now);
  for (; now < seconds * 1000; now += 10) {
    pace.chunkSize();
    pace.count(bytesPerSecond / 100);
  }
  return pace.chunkSize();
}

suite('the pace of a reader', () => {
  test('is not known at first', () => {
    assert.equal(createAdaptiveChunkSize(one, () => 0).chunkSize(), 256 * KIB);
  });

  for (const [bytesPerSecond, size] of [
    [0, 16 * KIB],
    [100_000, 16 * KIB],
    [1_000_000, 16 * KIB],
    [3 * MIB, 64 * KIB],
    [10 * MIB, 256 * KIB],
    [20 * MIB, 512 * KIB],
    [2000 * MIB, 512 * KIB],
  ] as const) {
    test(`with ${bytesPerSecond} bytes a second reads ${size} at a time`, () => {
      assert.equal(sizeAt(bytesPerSecond), size);
    });
  }

  test('ignores bytes that only fill buffers', () => {
    let now = 0;
    const pace = createAdaptiveChunkSize(one, () => now);
    for (; now < 40; now++) {
      assert.equal(pace.chunkSize(), 256 * KIB);
      pace.count(200 * KIB);
    }
  });

  for (const [readers, first, fast] of [
    [4, 256 * KIB, 512 * KIB],
    [8, 128 * KIB, 512 * KIB],
    [50, 16 * KIB, 128 * KIB],
    [200, 16 * KIB, 32 * KIB],
    [5000, 16 * KIB, 16 * KIB],
  ] as const) {
    test(`among ${readers} readers starts with ${first} at a time, and reaches ${fast}`, () => {
      let now = 0;
      const pace = createAdaptiveChunkSize(
        () => readers,
        () => now,
      );
      assert.equal(pace.chunkSize(), first);
      pace.count(2 ** 30);
      now = 100;
      assert.equal(pace.chunkSize(), fast);
    });
  }

  test('goes with its sink, from blob to blob', () => {
    const paces = createAdaptiveChunkSizes();
    const [fast, other] = [new PassThrough(), new PassThrough()];
    const first = paces.begin(fast);
    first.pace.count(2 ** 30);
    first.end();
    assert.equal(paces.begin(fast).pace.chunkSize(), 512 * KIB);
    assert.equal(paces.begin(other).pace.chunkSize(), 256 * KIB);
  });

  test('is shared with those alone that still read', () => {
    const paces = createAdaptiveChunkSizes();
    const others = Array.from({ length: 64 }, () => paces.begin(new PassThrough()));
    const { pace } = paces.begin(new PassThrough());
    assert.equal(pace.chunkSize(), 16 * KIB);
    for (const { end } of others) end();
    assert.equal(pace.chunkSize(), 256 * KIB);
  });
});

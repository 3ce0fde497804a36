import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { suite, test } from 'node:test';
import { createReaderPace, createReaderPaces } from '../../src/blobs/reader-pace.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** What a reader is given at a time after some seconds in which it takes so many bytes each. */
function sizeAt(bytesPerSecond: number, seconds = 5): number {
  let now = 0;
  const pace = createReaderPace(() => now);
  for (; now < seconds * 1000; now += 10) {
    pace.chunkSize();
    pace.count(bytesPerSecond / 100);
  }
  return pace.chunkSize();
}

suite('the pace of a reader', () => {
  test('is not known at first', () => {
    assert.equal(createReaderPace(() => 0).chunkSize(), 32 * KIB);
  });

  for (const [bytesPerSecond, size] of [
    [0, 16 * KIB],
    [100_000, 16 * KIB],
    [MIB, 16 * KIB],
    [5 * MIB, 32 * KIB],
    [30 * MIB, 256 * KIB],
    [110 * MIB, MIB],
    [2000 * MIB, MIB],
  ] as const) {
    test(`of ${bytesPerSecond} bytes a second is ${size} at a time`, () => {
      assert.equal(sizeAt(bytesPerSecond), size);
    });
  }

  test('is no pace where buffers between are only filled', () => {
    let now = 0;
    const pace = createReaderPace(() => now);
    for (; now < 100; now++) {
      assert.equal(pace.chunkSize(), 32 * KIB);
      pace.count(100 * KIB);
    }
  });

  test('goes with its sink, from blob to blob', () => {
    const paces = createReaderPaces();
    const [fast, other] = [new PassThrough(), new PassThrough()];
    paces(fast).count(2 ** 30);
    assert.equal(paces(fast).chunkSize(), MIB);
    assert.equal(paces(other).chunkSize(), 32 * KIB);
  });
});

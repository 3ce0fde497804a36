import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { formatBytes, formatDecimalBytes, parseByteSize } from '../../src/util/byte-size.ts';

suite('a number of bytes', () => {
  for (const [text, bytes] of [
    ['0', 0],
    ['4096', 4096],
    ['500MB', 500_000_000],
    ['4GiB', 2 ** 32],
    ['1.5 KiB', 1536],
    [' 1kB ', 1000],
  ] as const) {
    test(`${JSON.stringify(text)} is ${bytes}`, () => assert.equal(parseByteSize(text), bytes));
  }

  for (const text of ['', 'GiB', '-1', '1e3', '4gib', '1 2', '9999999TiB']) {
    test(`${JSON.stringify(text)} is not a size`, () => assert.equal(parseByteSize(text), undefined));
  }
});

suite('formatBytes', () => {
  for (const [bytes, binary, decimal] of [
    [0, '0 B', '0 B'],
    [999, '999 B', '999 B'],
    [1000, '1000 B', '1.0 kB'],
    [1023, '1023 B', '1.0 kB'],
    [1536, '1.5 KiB', '1.5 kB'],
    [9_940, '9.7 KiB', '9.9 kB'],
    [12_345, '12.1 KiB', '12 kB'],
    [530_000_000, '505.4 MiB', '530 MB'],
    [2_200_000_000, '2 GiB', '2.2 GB'],
    [100 * 2 ** 30, '100 GiB', '107 GB'],
    [5 * 2 ** 50, '5120 TiB', '5629 TB'],
  ] as const) {
    test(`formats ${bytes} bytes as ${binary}, and in powers of ten as ${decimal}`, () => {
      assert.deepEqual([formatBytes(bytes), formatDecimalBytes(bytes)], [binary, decimal]);
    });
  }
});

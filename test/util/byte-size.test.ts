import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseByteSize } from '../../src/util/byte-size.ts';

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
    test(`${JSON.stringify(text)} is none`, () => assert.equal(parseByteSize(text), undefined));
  }
});

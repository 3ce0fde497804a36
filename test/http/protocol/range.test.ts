import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { parseRange } from '../../../src/http/protocol/range.ts';

suite('Range against a file of 1000 bytes', () => {
  const satisfiable: [string, number, number][] = [
    ['bytes=0-0', 0, 1],
    ['bytes=0-999', 0, 1000],
    ['bytes=0-', 0, 1000],
    ['bytes=100-199', 100, 200],
    ['bytes=999-', 999, 1000],
    ['bytes=500-5000', 500, 1000],
    ['bytes=500-99999999999999999999999', 500, 1000],
    ['bytes=-1', 999, 1000],
    ['bytes=-1000', 0, 1000],
    ['bytes=-5000', 0, 1000],
    ['Bytes= 0-9 ', 0, 10],
    ['bytes=00-09', 0, 10],
  ];
  for (const [header, start, end] of satisfiable) {
    test(`${header} is ${start} to ${end - 1}`, () => {
      assert.deepEqual(parseRange(header, 1000), { start, end });
    });
  }

  for (const header of ['bytes=1000-', 'bytes=1000-2000', 'bytes=-0', 'bytes=99999999999999999999999-']) {
    test(`${header} is unsatisfiable`, () => assert.equal(parseRange(header, 1000), 'unsatisfiable'));
  }

  const wholeFile = [
    undefined,
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=5-4',
    'bytes=0-1,5-6',
    'bytes=0-1,',
    'bytes=a-b',
    'bytes=1.5-2',
    'bytes=+1-2',
    'bytes=--1',
    'bytes=0x1-2',
    'items=0-1',
    'bytes:0-1',
    'bytes=0-1\nx',
  ];
  for (const header of wholeFile) {
    test(`${JSON.stringify(header)} means the whole file`, () =>
      assert.equal(parseRange(header, 1000), undefined));
  }

  test('no byte of an empty file can be asked for', () => {
    for (const header of ['bytes=0-', 'bytes=0-0', 'bytes=-5']) {
      assert.equal(parseRange(header, 0), 'unsatisfiable');
    }
  });
});

suite('Range against any file', () => {
  const size = fc.nat({ max: 200 });
  const position = fc.nat({ max: 300 });

  test('first-last is exactly the bytes that the numbers name and the file has', () => {
    fc.assert(
      fc.property(size, position, position, (bytes, first, last) => {
        const named = Array.from({ length: bytes }, (_, at) => at).filter((at) => at >= first && at <= last);
        const [start] = named;
        const expected = start === undefined ? 'unsatisfiable' : { start, end: start + named.length };
        assert.deepEqual(parseRange(`bytes=${first}-${last}`, bytes), last < first ? undefined : expected);
      }),
    );
  });

  test('first- and -length reach the end', () => {
    fc.assert(
      fc.property(size, position, (bytes, number) => {
        const fromFirst = number < bytes ? { start: number, end: bytes } : 'unsatisfiable';
        assert.deepEqual(parseRange(`bytes=${number}-`, bytes), fromFirst);
        const length = Math.min(number, bytes);
        const fromLast = length > 0 ? { start: bytes - length, end: bytes } : 'unsatisfiable';
        assert.deepEqual(parseRange(`bytes=-${number}`, bytes), fromLast);
      }),
    );
  });

  test('for any header, a range lies within the file and is not empty', () => {
    const noise = fc.string({ unit: fc.constantFrom(...'0123456789-,= \tbytes'), maxLength: 30 });
    fc.assert(
      fc.property(
        fc.oneof(
          noise,
          noise.map((text) => `bytes=${text}`),
        ),
        fc.nat(),
        (header, bytes) => {
          const range = parseRange(header, bytes);
          if (range === undefined || range === 'unsatisfiable') return;
          assert.ok(range.start >= 0 && range.start < range.end && range.end <= bytes, JSON.stringify(range));
        },
      ),
      { numRuns: 2000 },
    );
  });
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { partFilename, partition, partRange, unparted } from '../../src/archive/parts.ts';

suite('parts', () => {
  test('any parts, one after the other, are the file, and each is smaller than was said', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000_000 }),
        fc.integer({ min: 1024, max: 4_000_000 }),
        (size, limit) => {
          const parts = partition(size, limit);
          const ranges = Array.from({ length: parts.count }, (_, at) => partRange(parts, at + 1));
          let end = 0;
          for (const range of ranges) {
            assert.equal(range.start, end);
            assert.ok(range.end > range.start && range.end - range.start < limit);
            end = range.end;
          }
          assert.equal(end, size);
        },
      ),
    );
  });

  test('of 4 GiB fit on FAT32, whose largest file is a byte smaller', () => {
    const parts = partition(5 * 2 ** 32, 2 ** 32);
    assert.equal(parts.partSize, 2 ** 32 - 512);
    assert.equal(parts.count, 6);
  });

  test('have names that sort as they follow each other', () => {
    const names = (count: number): string[] =>
      Array.from({ length: count }, (_, at) =>
        partFilename('a.tar', at + 1, { size: count, partSize: 1, count }),
      );
    assert.deepEqual(names(2), ['a.tar.part01of02', 'a.tar.part02of02']);
    for (const count of [5, 12, 100, 1234]) assert.deepEqual(names(count).toSorted(), names(count));
  });

  test('a file in one piece is one part', () => {
    assert.deepEqual(partRange(unparted(123), 1), { start: 0, end: 123 });
  });
});

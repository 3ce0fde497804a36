import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { hashedAs, partFilename, partition, partRange, unparted } from '../../src/archive/parts.ts';

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

  test('with a 4 GiB limit fit on FAT32, whose largest file is a byte smaller', () => {
    const parts = partition(5 * 2 ** 32, 2 ** 32);
    assert.equal(parts.partSize, 2 ** 32 - 512);
    assert.equal(parts.count, 6);
  });

  test('pieces are of a power of two, 1 MiB at least, and 2000 at most for all files of a list', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 46 }), fc.integer({ min: 1, max: 9 }), (all, share) => {
        const size = Math.ceil(all / share);
        const [whole, pieces = { ...whole, count: 1 }] = hashedAs(size, all);
        assert.deepEqual([whole.count, whole.partSize], [1, size]);
        assert.ok(pieces.count <= 2000);
        if (pieces.count === 1) return;
        assert.ok(pieces.partSize >= 2 ** 20 && Math.log2(pieces.partSize) % 1 === 0);
        assert.equal(Math.ceil(size / pieces.partSize), pieces.count);
      }),
    );
    assert.equal(hashedAs(2 ** 20).length, 1, 'a single piece would be the whole');
    assert.equal(hashedAs(2 ** 20 + 1)[1]?.count, 2);
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

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { countInFlight, isCovered } from '../../src/limits/in-flight-bytes.ts';

suite('bytes that connections have still to send', () => {
  const range = fc.tuple(fc.nat(30), fc.nat(30)).map(([at, length]) => ({ at, end: at + length }));
  const bytesOf = ({ at, end }: { at: number; end: number }) =>
    Array.from({ length: end - at }, (_, byte) => at + byte);

  test('is each byte once, however their ranges overlap', () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 6 }), range, (ranges, another) => {
        const bytes = new Set(ranges.flatMap(bytesOf));
        assert.equal(countInFlight(ranges), bytes.size);
        const isThere = ranges.length > 0 && bytesOf(another).every((byte) => bytes.has(byte));
        assert.equal(isCovered(another, ranges), isThere);
      }),
    );
  });
});

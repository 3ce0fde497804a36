import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { createColumn, createTextColumn, sumOf, textOf } from '../../src/contents/columns.ts';

const NUMBERS = fc.oneof(fc.nat(300), fc.nat(70_000), fc.nat(2 ** 31), fc.maxSafeNat());

suite('column', () => {
  test('contains the pushed numbers, however many were expected', () => {
    fc.assert(
      fc.property(fc.array(NUMBERS, { maxLength: 50 }), fc.nat(60), (numbers, expected) => {
        const column = createColumn(expected);
        for (const number of numbers) column.push(number);
        assert.deepEqual([...column.done()], numbers);
      }),
    );
  });

  for (const [largest, bytes] of [
    [255, 1],
    [256, 2],
    [65_536, 4],
    [2 ** 32, 8],
  ] as const)
    test(`takes ${bytes} bytes for a number up to ${largest}`, () => {
      const column = createColumn();
      for (let at = 0; at < 5000; at++) column.push(at === 3000 ? largest : 1);
      const numbers = column.done();
      assert.equal(numbers.buffer.byteLength, 5000 * bytes);
      assert.equal(sumOf(numbers), 4999 + largest);
    });

  test('contains the pushed texts', () => {
    const texts = Array.from({ length: 3000 }, (_, at) => (at % 3 === 0 ? '' : `text ${at} \xff`));
    const column = createTextColumn();
    for (const text of texts) column.push(text);
    assert.equal(column.size, texts.join('').length);
    const done = column.done();
    assert.equal(done.bytes.buffer.byteLength, texts.join('').length);
    assert.deepEqual(
      texts.map((_, at) => textOf(done, at)),
      texts,
    );
  });
});

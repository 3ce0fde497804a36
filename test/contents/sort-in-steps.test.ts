import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { sortInSteps } from '../../src/contents/sort-in-steps.ts';
import { finish } from './layers.ts';

suite('a sort in steps', () => {
  test('sorts any numbers, and keeps the order of equal ones', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(300), { maxLength: 200 }), (numbers) => {
        const tens = (one: number, other: number): number => Math.floor(one / 10) - Math.floor(other / 10);
        assert.deepEqual([...finish(sortInSteps(Int32Array.from(numbers), tens))], numbers.toSorted(tens));
      }),
    );
  });

  test('yields while it sorts a million numbers', () => {
    const numbers = Int32Array.from({ length: 2 ** 20 }, (_, at) => Math.imul(at, 0x9e37_79b1));
    const steps = [...sortInSteps(numbers, (one, other) => one - other)];
    assert.ok(steps.length > 1000, `${steps.length}`);
  });
});

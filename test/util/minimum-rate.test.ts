import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { createMinimumRate } from '../../src/util/minimum-rate.ts';

const LIMITS = { bytesPerSecond: 1000, patience: 10_000 };

suite('the slowest pace', () => {
  test('accepts silence for the timeout, and no longer', () => {
    const pace = createMinimumRate(LIMITS);
    assert.equal(pace.count(10_000, 0), true);
    assert.equal(pace.count(1, 0), false);
  });

  test('a fast beginning does not permit a stop for hours', () => {
    const pace = createMinimumRate(LIMITS);
    assert.equal(pace.count(1, 1e12), true);
    assert.equal(pace.count(10_001, 0), false);
  });

  test('later speed makes up for a pause', () => {
    const pace = createMinimumRate(LIMITS);
    for (let turn = 0; turn < 100; turn++) {
      assert.equal(pace.count(9_000, 0), true);
      assert.equal(pace.count(0, 9_000), true);
    }
  });

  test('a reset cancels the debt', () => {
    const pace = createMinimumRate(LIMITS);
    assert.equal(pace.count(9_999, 0), true);
    pace.reset();
    assert.equal(pace.count(9_999, 0), true);
  });

  const step = fc.record({ milliseconds: fc.nat(5_000), spare: fc.nat(1_000_000) });

  test('a sender at the minimum rate is never cut off, in pieces of any size', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
        const pace = createMinimumRate(LIMITS);
        return steps.every(({ milliseconds, spare }) => pace.count(milliseconds, milliseconds + spare));
      }),
      { numRuns: 2000 },
    );
  });

  test('a sender below it is cut off in the end, however fast it began', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 20 }),
        fc.double({ min: 0, max: 0.9, noNaN: true }),
        (steps, share) => {
          const pace = createMinimumRate(LIMITS);
          for (const { milliseconds, spare } of steps) pace.count(milliseconds, spare);
          const after = Array.from({ length: 110 }, () => pace.count(1000, share * 1000));
          return after.includes(false);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

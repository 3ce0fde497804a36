import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { backoff, withJitter } from '../../src/util/backoff.ts';

suite('backoff', () => {
  const pauses = { first: 1000, longest: 60_000 };
  const after = (random: number): number[] =>
    Array.from({ length: 8 }, (_, at) => backoff(pauses, at + 1, random));

  test('doubles the pause after each failure, up to the longest', () => {
    assert.deepEqual(after(1), [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  });

  test('waits at least half of each pause', () => {
    assert.deepEqual(after(0), [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  });

  test('spreads the pauses evenly', () => {
    assert.equal(backoff({ first: 250 }, 1, 0.5), 187.5);
    assert.equal(withJitter(100, 0.5, 0.2), 90);
    assert.equal(withJitter(100, 0, 1), 0);
  });

  test('has no longest pause unless one is set', () => {
    assert.equal(backoff({ first: 1 }, 21, 1), 2 ** 20);
  });
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { formatDuration } from '../../src/util/duration.ts';

suite('formatDuration', () => {
  for (const [milliseconds, text] of [
    [0, '1 s'],
    [33_001, '34 s'],
    [60_000, '60 s'],
    [100_000, '2 min'],
    [3_540_001, '1 h'],
    [12_000_000, '3 h 20 min'],
    [86_400_000, '24 h'],
  ] as const) {
    test(`formats ${milliseconds} ms as ${text}`, () => assert.equal(formatDuration(milliseconds), text));
  }
});

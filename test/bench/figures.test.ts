import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cpuSecondsPerGigabyte, median, medians, megabytesPerSecond } from '../../bench/figures.ts';

test('the median is the middle one, whatever the order', () => {
  assert.equal(median([10, 9, 100]), 10);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([7]), 7);
  assert.ok(Number.isNaN(median([])));
});

test('each field has its own median, over those that have it', () => {
  assert.deepEqual(medians([{ a: 1, b: 5 }, { a: 3 }, { a: 2 }]), { a: 2, b: 5 });
});

test('speed and CPU count the bytes of the image', () => {
  const figures = { seconds: 2, imageBytes: 500e6, cpuSeconds: 1 };
  assert.equal(megabytesPerSecond(figures), 250);
  assert.equal(cpuSecondsPerGigabyte(figures), 2);
  assert.equal(cpuSecondsPerGigabyte({ seconds: 2, imageBytes: 1 }), undefined);
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { formatBytes, formatDuration, limitError } from '../../src/limits/limit-error.ts';

suite('what a limit says', () => {
  const durations: [number, string][] = [
    [0, '1 s'],
    [33_001, '34 s'],
    [60_000, '60 s'],
    [100_000, '2 min'],
    [3_540_001, '1 h'],
    [12_000_000, '3 h 20 min'],
    [86_400_000, '24 h'],
  ];
  for (const [milliseconds, text] of durations) {
    test(`${milliseconds} ms are ${text}`, () => assert.equal(formatDuration(milliseconds), text));
  }

  const sizes: [number, string][] = [
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.5 KiB'],
    [100 * 2 ** 30, '100 GiB'],
    [5 * 2 ** 50, '5120 TiB'],
  ];
  for (const [bytes, text] of sizes) {
    test(`${bytes} bytes are ${text}`, () => assert.equal(formatBytes(bytes), text));
  }

  test('it names the limit, and never says to come back at once', () => {
    const error = limitError(
      'too-many-requests',
      { name: 'requests', limit: 60, freesIn: 0 },
      'Long.',
      'Short',
    );
    assert.equal(error.status, 429);
    assert.equal(error.retryAfter, 1);
    assert.deepEqual(error.members, { 'violated-policies': ['requests'], limit: 60 });
    assert.equal(error.headers.ratelimit, '"requests";r=0;t=1');
    assert.equal(error.headers['ratelimit-remaining'], '0');
  });
});

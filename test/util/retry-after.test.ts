import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseRetryAfter } from '../../src/util/retry-after.ts';

const NOW = Date.UTC(2026, 10, 1);
const DAY_MS = 86_400_000;

suite('Retry-After', () => {
  const table: [header: string | undefined, milliseconds: number | undefined][] = [
    ['120', 120_000],
    ['0', 0],
    [' 5 ', 5_000],
    ['1.5', 1_500],
    ['999999', DAY_MS],
    ['9'.repeat(400), DAY_MS],
    ['880.092µs', 0.880092],
    ['880.092\u03bcs', 0.880092],
    ['880.092\u00c2\u00b5s', 0.880092],
    ['880.092\ufffds', 0.880092],
    ['12us', 0.012],
    ['5ns', 0.000005],
    ['250ms', 250],
    ['.5s', 500],
    ['2.s', 2_000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['1h0m0.5s', 3_600_500],
    ['999h', DAY_MS],
    ['Sun, 01 Nov 2026 00:00:30 GMT', 30_000],
    ['Sun, 1 Nov 2026 00:00:30 GMT', 30_000],
    ['Sunday, 01-Nov-26 00:00:30 GMT', 30_000],
    ['Sun Nov  1 00:00:30 2026', 30_000],
    ['Sun Nov  1 00:00:30 2026 GMT', 30_000],
    ['Sun, 01 Nov 2026 01:00:30 +0100', 30_000],
    ['Sat, 31 Oct 2026 23:00:00 GMT', 0],
    ['Fri, 31 Dec 9999 00:00:00 GMT', DAY_MS],
    [undefined, undefined],
    ['', undefined],
    ['soon', undefined],
    ['-5', undefined],
    ['-1s', undefined],
    ['5 minutes', undefined],
    ['in 5', undefined],
    ['may 5', undefined],
    ['1d', undefined],
    ['1m30', undefined],
    ['1m 30s', undefined],
    ['s', undefined],
    ['Infinity', undefined],
    ['Sun, 41 Nov 2026 00:00:30 GMT', undefined],
  ];
  for (const [header, expected] of table) {
    test(`${JSON.stringify(header) ?? '(absent)'} is ${expected === undefined ? 'no time' : `${expected} ms`}`, () => {
      const actual = parseRetryAfter(header, NOW);
      assert.equal(actual === undefined, expected === undefined, `${actual}`);
      assert.ok(Math.abs((actual ?? 0) - (expected ?? 0)) < 1e-9, `${actual}`);
    });
  }
});

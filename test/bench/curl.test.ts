import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTransfers } from '../../bench/curl.ts';

test('each line of --write-out is a transfer', () => {
  assert.deepEqual(parseTransfers('0.012000 1.500000 1000\n0.020000 3.000000 2000\n'), [
    { firstByteMs: 12, seconds: 1.5, bytes: 1000 },
    { firstByteMs: 20, seconds: 3, bytes: 2000 },
  ]);
  assert.deepEqual(parseTransfers(''), []);
});

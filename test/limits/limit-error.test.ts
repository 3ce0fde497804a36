import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { detail } from '../../src/errors/details.ts';
import { limitError } from '../../src/limits/limit-error.ts';

suite('the text of a limit', () => {
  test('names the limit, and never asks for an immediate retry', () => {
    const error = limitError(
      'too-many-requests',
      { name: 'requests', limit: 60, freesIn: 0 },
      detail('requests-exceeded', { limit: 60, window: { milliseconds: 1 }, wait: { milliseconds: 1 } }),
      'Short',
    );
    assert.equal(error.status, 429);
    assert.equal(error.retryAfter, 1);
    assert.deepEqual(error.members, { 'violated-policies': ['requests'], limit: 60 });
    assert.equal(error.headers.ratelimit, '"requests";r=0;t=1');
    assert.equal(error.headers['ratelimit-remaining'], '0');
  });
});

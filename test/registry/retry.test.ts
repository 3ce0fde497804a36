import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { detail } from '../../src/errors/details.ts';
import { type ErrorCode, type ErrorDetails, ServiceError } from '../../src/errors.ts';
import { createRetry, type RetryLimits, retrying } from '../../src/registry/retry.ts';

const never = new AbortController().signal;
const LIMITS: RetryLimits = { retries: 2, longestPause: 5_000 };

function failure(code: ErrorCode = 'registry-failed', details: ErrorDetails = {}): ServiceError {
  return new ServiceError(code, detail('registry-failed', { host: code }), details);
}

function setUp(random = 1) {
  const pauses: number[] = [];
  const retry = createRetry({
    random: () => random,
    pause: async (milliseconds, signal) => {
      signal.throwIfAborted();
      pauses.push(milliseconds);
    },
  });
  return { pauses, retry };
}

/** Work that fails with one error after the other, then succeeds. */
function failing(...errors: unknown[]) {
  let count = 0;
  return {
    tries: () => count,
    async work(): Promise<string> {
      const error = errors[count++];
      if (error !== undefined) throw error;
      return 'done';
    },
  };
}

suite('tries', () => {
  test('end with the first success', async () => {
    const { pauses, retry } = setUp();
    const { work, tries } = failing(failure(), failure());
    assert.equal(await retrying(retry(LIMITS), work, never), 'done');
    assert.equal(tries(), 3);
    assert.deepEqual(pauses, [250, 500]);
  });

  test('end with the last failure after all are used up', async () => {
    const { retry } = setUp();
    const last = failure('registry-unavailable');
    const { work, tries } = failing(failure(), failure(), last, undefined);
    await assert.rejects(retrying(retry(LIMITS), work, never), last);
    assert.equal(tries(), 3);
  });

  test('are spread: a pause lasts between half and all of its nominal time', async () => {
    for (const [random, expected] of [
      [0, [125, 250]],
      [0.5, [187.5, 375]],
      [1, [250, 500]],
    ] as const) {
      const { pauses, retry } = setUp(random);
      await retrying(retry(LIMITS), failing(failure(), failure()).work, never);
      assert.deepEqual(pauses, expected);
    }
  });

  test('share the budget of their operation', async () => {
    const { retry } = setUp();
    const budget = retry(LIMITS);
    await retrying(budget, failing(failure()).work, never);
    await retrying(budget, failing(failure()).work, never);
    await assert.rejects(retrying(budget, failing(failure()).work, never), { code: 'registry-failed' });
  });

  test('start counting again after progress', async () => {
    const { pauses, retry } = setUp();
    const budget = retry(LIMITS);
    for (let round = 0; round < 5; round++) {
      await budget.next(failure(), never);
      budget.restart();
    }
    assert.deepEqual(pauses, Array(5).fill(250));
  });

  for (const code of [
    'registry-failed',
    'registry-timeout',
    'registry-unavailable',
    'registry-rate-limited',
  ] as const) {
    test(`follow ${code}, unless it is final`, async () => {
      const { retry } = setUp();
      assert.equal(await retrying(retry(LIMITS), failing(failure(code)).work, never), 'done');
      const { work, tries } = failing(failure(code, { isFinal: true }));
      await assert.rejects(retrying(retry(LIMITS), work, never), { code });
      assert.equal(tries(), 1);
    });
  }

  for (const error of [
    failure('image-not-found'),
    failure('registry-refused'),
    failure('content-mismatch'),
    failure('address-refused'),
    new TypeError('A mistake'),
    new DOMException('Gone', 'AbortError'),
  ]) {
    test(`do not follow ${error instanceof ServiceError ? error.code : error.name}`, async () => {
      const { retry } = setUp();
      const { work, tries } = failing(error);
      await assert.rejects(retrying(retry(LIMITS), work, never), error);
      assert.equal(tries(), 1);
    });
  }

  test('wait slightly longer than the registry asks', async () => {
    const { pauses, retry } = setUp();
    const limited = (pause: number) => failure('registry-rate-limited', { pause });
    await retrying(retry(LIMITS), failing(limited(5_000), limited(0.88)).work, never);
    assert.deepEqual(pauses, [5_250, 500.88]);
  });

  test('leave a longer wait to the client', async () => {
    const { pauses, retry } = setUp();
    for (const code of ['registry-rate-limited', 'registry-unavailable'] as const) {
      const { work } = failing(failure(code, { pause: 5_001 }));
      await assert.rejects(retrying(retry(LIMITS), work, never), { code });
    }
    assert.deepEqual(pauses, []);
  });

  test('end with the deadline, with the error that came before it', async () => {
    const deadline = new AbortController();
    const retry = createRetry({
      random: () => 1,
      pause: async (_milliseconds, signal) => {
        deadline.abort(new DOMException('Late', 'TimeoutError'));
        signal.throwIfAborted();
      },
    });
    const last = failure('registry-unavailable');
    await assert.rejects(retrying(retry(LIMITS), failing(last).work, deadline.signal), last);
  });

  test('end with an AbortError if the client disconnects during a pause', async () => {
    const client = new AbortController();
    const retry = createRetry({
      random: () => 1,
      pause: async (_milliseconds, signal) => {
        client.abort();
        signal.throwIfAborted();
      },
    });
    const { work, tries } = failing(failure());
    await assert.rejects(retrying(retry(LIMITS), work, client.signal), { name: 'AbortError' });
    assert.equal(tries(), 1);
  });
});

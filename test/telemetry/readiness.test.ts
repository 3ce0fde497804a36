import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createReadiness } from '../../src/telemetry/readiness.ts';

suite('readiness', () => {
  const fine = () => ({ isReady: true, details: { state: 'valid' } });

  test('the service is ready where all of its parts are', async () => {
    assert.equal((await createReadiness({})()).isReady, true);
    assert.equal((await createReadiness({ one: fine, other: async () => fine() })()).isReady, true);
    const report = await createReadiness({ one: fine, other: () => ({ isReady: false, details: {} }) })();
    assert.deepEqual(report, {
      isReady: false,
      checks: {
        one: { isReady: true, details: { state: 'valid' } },
        other: { isReady: false, details: {} },
      },
    });
  });

  test('a part that cannot be looked at is not ready, and why is told', async () => {
    const broken = () => Promise.reject(new Error('no such folder'));
    const { isReady, checks } = await createReadiness({ one: fine, broken })();
    assert.equal(isReady, false);
    assert.deepEqual(checks.broken, { isReady: false, details: { failure: 'no such folder' } });
  });
});

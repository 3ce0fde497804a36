import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { brieflyRemembered, createReadiness } from '../../src/telemetry/readiness.ts';

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

  test('a part whose check fails is not ready, and the reason is reported', async () => {
    const broken = () => Promise.reject(new Error('no such folder'));
    const { isReady, checks } = await createReadiness({ one: fine, broken })();
    assert.equal(isReady, false);
    assert.deepEqual(checks.broken, { isReady: false, details: { failure: 'no such folder' } });
  });

  test('a part is checked at most once a second for all requests, also if it fails', async () => {
    const clock = { now: 0 };
    let looks = 0;
    const look = async () => {
      looks += 1;
      if (looks === 1) throw new Error('no such folder');
      return fine();
    };
    const readiness = createReadiness({ part: brieflyRemembered(look, () => clock.now) });
    const all = await Promise.all(Array.from({ length: 10 }, () => readiness()));
    assert.deepEqual(new Set(all.map(({ isReady }) => isReady)), new Set([false]));
    clock.now += 999;
    assert.equal((await readiness()).isReady, false);
    assert.equal(looks, 1);
    clock.now += 1;
    assert.equal((await readiness()).isReady, true);
    assert.equal(looks, 2);
  });
});

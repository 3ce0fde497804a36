import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { nextRenewalTime, renewalTime, retryTime } from '../../src/tls/schedule.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const START = Date.UTC(2027, 0, 1);

suite('renewal', () => {
  for (const days of [90, 64, 45, 6]) {
    test(`a certificate of ${days} days is renewed when a third is left, or up to a tenth of that earlier`, () => {
      const certificate = { notBefore: START, notAfter: START + days * DAY_MS };
      const latest = START + (days * DAY_MS * 2) / 3;
      assert.ok(Math.abs(renewalTime(certificate, 0) - latest) < 1);
      const earliest = renewalTime(certificate, 1);
      assert.ok(Math.abs(earliest - (latest - (days * DAY_MS) / 30)) < 1);
      assert.ok(renewalTime(certificate, 0.5) > earliest && renewalTime(certificate, 0.5) < latest);
    });
  }

  test('with a clock that is a year ahead, the authority is not asked without end', () => {
    const certificate = { notBefore: START, notAfter: START + 90 * DAY_MS };
    assert.equal(nextRenewalTime(certificate, START, 0.5), renewalTime(certificate, 0.5));
    const ahead = START + 365 * DAY_MS;
    assert.equal(nextRenewalTime(certificate, ahead, 0.5) - ahead, 3 * DAY_MS);
  });

  test('a failing authority is asked often enough before a certificate of 6 days ends', () => {
    const notAfter = START + 6 * DAY_MS;
    const attempts: number[] = [];
    let time = renewalTime({ notBefore: START, notAfter }, 0);
    while (time < notAfter) {
      attempts.push(time);
      time = retryTime({ failures: attempts.length, attempts, retryAfter: undefined }, time, 1);
    }
    assert.ok(attempts.length > 10, `${attempts.length}`);
  });
});

suite('retries', () => {
  /** Returns the times of failing attempts, by a process that restarts after a number of them. */
  function failing(count: number, restartsAfter = Number.POSITIVE_INFINITY, random = 1): number[] {
    const attempts = [START];
    for (let failures = 1; attempts.length < count; failures += 1) {
      const time = attempts.at(-1) ?? 0;
      const inARow = failures % restartsAfter;
      attempts.push(retryTime({ failures: inARow, attempts, retryAfter: undefined }, time, random));
    }
    return attempts;
  }

  for (const restarts of [1, 2, 3, Number.POSITIVE_INFINITY]) {
    test(`never more than five attempts in an hour, with a restart after each ${restarts}`, () => {
      for (const random of [0, 1]) {
        const attempts = failing(40, restarts, random);
        attempts.forEach((at, index) => {
          const sixth = attempts[index + 5];
          assert.ok(sixth === undefined || sixth - at >= HOUR_MS, `${index}`);
        });
      }
    });
  }

  test('the first is soon, and leaves one of the hour for a restart; later ones come every few hours', () => {
    const attempts = failing(8);
    assert.equal((attempts[1] ?? 0) - START, 15_000);
    assert.equal(attempts.filter((at) => at < START + HOUR_MS).length, 4);
    assert.equal((attempts[7] ?? 0) - (attempts[6] ?? 0), 4 * HOUR_MS);
  });

  test('the delay that the authority requests is respected, up to a day', () => {
    const retry = (retryAfter: number): number =>
      retryTime({ failures: 1, attempts: [START], retryAfter }, START, 1) - START;
    assert.equal(retry(2 * HOUR_MS), 2 * HOUR_MS);
    assert.equal(retry(1000), 15_000);
    assert.equal(retry(400 * DAY_MS), DAY_MS);
  });

  test('after a restart the first attempt is at once, where the hour has one left', () => {
    const none = { failures: 0, retryAfter: undefined };
    assert.equal(retryTime({ ...none, attempts: [] }, START, 1), START);
    const four = [START - 4000, START - 3000, START - 2000, START - 1000];
    assert.equal(retryTime({ ...none, attempts: four }, START, 1), START);
    assert.equal(retryTime({ ...none, attempts: [START - 5000, ...four] }, START, 1), START - 5000 + HOUR_MS);
  });

  test('attempts of a clock that went ahead do not count', () => {
    const attempts = Array.from({ length: 9 }, (_, at) => START + DAY_MS + at);
    assert.equal(retryTime({ failures: 0, attempts, retryAfter: undefined }, START, 1), START);
  });
});

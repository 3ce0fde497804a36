import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { createWallClockTimer } from '../../src/util/wall-clock-timer.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Starts a timer whose clock can be set. */
function startTimer(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 });
  let ahead = 10 * HOUR_MS;
  let calls = 0;
  const now = (): number => Date.now() + ahead;
  const timer = createWallClockTimer(now, () => {
    calls += 1;
  });
  return {
    ...{ timer, now, calls: () => calls },
    turnBack(milliseconds: number) {
      ahead -= milliseconds;
    },
    /** Lets time pass by minutes, and then the rest, because a timer called late would see the end of the time. */
    pass(milliseconds: number) {
      for (let left = milliseconds; left > 0; left -= MINUTE_MS)
        t.mock.timers.tick(Math.min(left, MINUTE_MS));
    },
  };
}

suite('a timer of the wall clock', () => {
  test('waits until the clock shows the time, also after a timer that ended early', (t) => {
    const { timer, now, calls, turnBack, pass } = startTimer(t);
    timer.set(now() + 3 * HOUR_MS);
    pass(3 * HOUR_MS - 1);
    assert.equal(calls(), 0);
    turnBack(1);
    pass(1);
    assert.equal(calls(), 0);
    pass(1);
    assert.equal(calls(), 1);
  });

  test('is late by at most a minute for a near time after the clock went back', (t) => {
    const { timer, now, calls, turnBack, pass } = startTimer(t);
    timer.set(now() + 2000);
    turnBack(9 * HOUR_MS);
    pass(MINUTE_MS);
    assert.equal(calls(), 1);
  });

  test('waits for a far time after the clock went back', (t) => {
    const { timer, now, calls, turnBack, pass } = startTimer(t);
    timer.set(now() + 2 * HOUR_MS);
    turnBack(HOUR_MS);
    pass(3 * HOUR_MS - 1);
    assert.equal(calls(), 0);
    pass(MINUTE_MS);
    assert.equal(calls(), 1);
  });
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createBandwidth } from '../../src/limits/bandwidth.ts';

suite('bandwidth', () => {
  test('is shared by the connections of a client, and by no others', () => {
    const bandwidth = createBandwidth(1000, () => 0);
    const [one, two, other] = [bandwidth.open('c'), bandwidth.open('c'), bandwidth.open('d')];
    assert.equal(one.delay(250), 0, 'a quarter of a second may come at once');
    assert.equal(one.delay(500), 500);
    assert.equal(two.delay(500), 1000);
    assert.equal(other.delay(250), 0);
  });

  test('is the rate in the long run, however it is asked for', () => {
    const clock = { now: 0 };
    const bandwidth = createBandwidth(10_000, () => clock.now);
    const share = bandwidth.open('c');
    let sent = 0;
    while (clock.now < 60_000) {
      clock.now += share.delay(777);
      sent += 777;
    }
    assert.ok(Math.abs(sent - 600_000) < 10_000, `${sent}`);
  });

  test('that was not used is not saved up', () => {
    const clock = { now: 0 };
    const share = createBandwidth(1000, () => clock.now).open('c');
    clock.now = 3_600_000;
    assert.equal(share.delay(1250), 1000);
  });

  test('forgets a client’s debt with its last connection', () => {
    const bandwidth = createBandwidth(1000, () => 0);
    const [one, two] = [bandwidth.open('c'), bandwidth.open('c')];
    one.delay(10_000);
    one.close();
    assert.ok(two.delay(1) > 9000);
    two.close();
    assert.equal(bandwidth.open('c').delay(1), 0);
  });
});

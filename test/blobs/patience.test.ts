import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { createPatience } from '../../src/blobs/patience.ts';

function setUp({ mock }: TestContext) {
  mock.timers.enable({ apis: ['setTimeout'] });
  let time = 0;
  let ends = 0;
  const patience = createPatience(
    { least: 100, share: 0.5 },
    () => (ends += 1),
    () => time,
  );
  return {
    patience,
    ends: () => ends,
    pass(milliseconds: number): void {
      time += milliseconds;
      mock.timers.tick(milliseconds);
    },
  };
}

suite('patience', () => {
  test('ends after the shortest wait at the start', (context) => {
    const { patience, pass, ends } = setUp(context);
    patience.update(1);
    pass(99);
    assert.equal(ends(), 0);
    pass(1);
    assert.equal(ends(), 1);
  });

  test('sums up waits, and grows by a share of the time', (context) => {
    const { patience, pass, ends } = setUp(context);
    pass(60);
    patience.update(1);
    patience.update(1);
    pass(80);
    patience.update(0);
    patience.update(0);
    pass(1000);
    assert.equal(ends(), 0);
    patience.update(1);
    // 100 and half of 1,140, of which 80 are used.
    pass(589);
    assert.equal(ends(), 0);
    pass(1);
    assert.equal(ends(), 1);
  });

  test('has nothing left after its end until the share grows', (context) => {
    const { patience, pass, ends } = setUp(context);
    patience.update(1);
    pass(300);
    patience.update(0);
    patience.update(1);
    pass(1);
    assert.equal(ends(), 2);
  });

  test('ends waits that are too short for its timer', (context) => {
    const { patience, pass } = setUp(context);
    const waits = Array.from({ length: 1000 }, () => {
      const mayWait = patience.update(1);
      pass(0.5);
      patience.update(0);
      return mayWait;
    });
    // 100 and half of the time, all of which they wait: 200.
    assert.equal(waits.indexOf(false), 400);
  });

  test('lasts longer while it counts only a part of the time', (context) => {
    const { patience, pass, ends } = setUp(context);
    patience.update(0.25);
    pass(200);
    // 100 and half of 200, of which 50 are used.
    patience.update(1);
    pass(149);
    assert.equal(ends(), 0);
    pass(1);
    assert.equal(ends(), 1);
  });
});

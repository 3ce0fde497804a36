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
    patience.update(true);
    pass(99);
    assert.equal(ends(), 0);
    pass(1);
    assert.equal(ends(), 1);
  });

  test('sums up waits, and grows by a share of the time', (context) => {
    const { patience, pass, ends } = setUp(context);
    pass(60);
    patience.update(true);
    patience.update(true);
    pass(80);
    patience.update(false);
    patience.update(false);
    pass(1000);
    assert.equal(ends(), 0);
    patience.update(true);
    // 100 and half of 1,140, of which 80 are used.
    pass(589);
    assert.equal(ends(), 0);
    pass(1);
    assert.equal(ends(), 1);
  });

  test('has nothing left after its end until the share grows', (context) => {
    const { patience, pass, ends } = setUp(context);
    patience.update(true);
    pass(300);
    patience.update(false);
    patience.update(true);
    pass(1);
    assert.equal(ends(), 2);
  });
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { progressLine } from '../../src/cli/progress-line.ts';
import { displayWidth } from '../../src/util/display-width.ts';

suite('the line of progress', () => {
  const half = { filename: 'busybox.tar', done: 1_100_000, total: 2_200_000, speed: 550_000 };

  test('it tells the name, the share, the bytes, the speed and the time left', () => {
    assert.equal(
      progressLine(half, 100),
      'busybox.tar ━━━━━━━━━━━━────────────  50 %  1.1 MB of 2.2 MB  550 kB/s  0:02',
    );
  });

  test('shows the received bytes if the length is unknown', () => {
    assert.equal(progressLine({ ...half, total: undefined }, 100), 'busybox.tar  1.1 MB  550 kB/s');
  });

  test('shrinks the bar, then drops the name, then the bar', () => {
    const figures = ' 50 %  1.1 MB of 2.2 MB  550 kB/s  0:02';
    assert.equal(progressLine(half, 60), `busybox.tar ━━━━──── ${figures}`);
    assert.equal(progressLine(half, 57), `━━━━━━━━───────── ${figures}`);
    assert.equal(progressLine(half, 45), figures.trimStart());
    assert.equal(progressLine(half, 30), '50 %  1.1 MB of 2.2 MB');
  });

  test('shows hours, and no time while nothing arrives', () => {
    assert.match(progressLine({ ...half, total: 5e9, speed: 1e6 }, 100), / 1:23:19$/);
    assert.match(progressLine({ ...half, speed: 0 }, 100), / -:--$/);
  });

  test('counts the columns of wide names, and keeps the bar beside a right-to-left name', () => {
    const wide = progressLine({ ...half, filename: '日本語.tar' }, 60);
    assert.equal(wide, '日本語.tar ━━━━─────  50 %  1.1 MB of 2.2 MB  550 kB/s  0:02');
    assert.match(progressLine({ ...half, filename: 'صورة' }, 60), /^صورة\u200e ━+─+ {2}50 %/);
  });

  test('it is never wider than the terminal', () => {
    const progress = fc.record({
      filename: fc.string({ maxLength: 60, unit: 'binary' }),
      total: fc.option(fc.nat(), { nil: undefined }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      speed: fc.nat(),
    });
    fc.assert(
      fc.property(progress, fc.integer({ min: 0, max: 200 }), ({ share, total, ...rest }, columns) => {
        const done = Math.floor(share * (total ?? 1e9));
        assert.ok(displayWidth(progressLine({ ...rest, total, done }, columns)) <= columns);
      }),
    );
  });
});

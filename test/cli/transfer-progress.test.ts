import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { layerLine } from '../../src/cli/progress-line.ts';
import { createScreen, type Screen, type ScreenStream } from '../../src/cli/screen.ts';
import { showTransfer } from '../../src/cli/transfer-progress.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import type { PlacedLayer } from '../../src/sources/image-source.ts';

const MB = 1_000_000;
const layers: readonly PlacedLayer[] = ['a', 'b'].map((letter, at) => ({
  digest: parseDigest(`sha256:${letter.repeat(64)}`),
  size: 2 * MB,
  offset: 1000 + at * 2 * MB,
}));
const transfer = { filename: 'app.tar', size: 4 * MB + 2000, layers };

/** Collects what is written to a screen. */
function screenOf(options: Pick<ScreenStream, 'isTTY' | 'columns'>): Screen & { text(): string } {
  let all = '';
  const write = (text: string): void => {
    all += text;
  };
  return { ...createScreen({ ...options, write }, {}), text: () => all };
}

/** Splits what a terminal got at each erasure. Escape sequences take no columns. */
function drawingsIn(text: string): string[] {
  return text.replaceAll('\x1b', '').split(/(?:\[\d*A)?\r\[J/);
}

suite('the progress of a transfer', () => {
  test('has a line for each complete layer in a log', () => {
    const screen = screenOf({});
    const progress = showTransfer(transfer, screen, () => 0);
    progress.count(Buffer.alloc(2 * MB));
    assert.equal(screen.text(), '');
    progress.count(Buffer.alloc(1000));
    assert.equal(screen.text(), 'layer 1 of 2  aaaaaaaaaaaa  2.0 MB\n');
    progress.count(Buffer.alloc(2 * MB + 1000));
    progress.stop();
    assert.match(screen.text(), /^layer 1 of 2 .*\nlayer 2 of 2 {2}bbbbbbbbbbbb {2}2\.0 MB\n$/);
    assert.equal(progress.bytes(), 4 * MB + 2000);
  });

  test('has lines at intervals in a log', (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const screen = screenOf({});
    let now = 0;
    const progress = showTransfer(transfer, screen, () => now);
    now = 10_000;
    progress.count(Buffer.alloc(MB));
    t.mock.timers.tick(10_000);
    progress.stop();
    t.mock.timers.tick(10_000);
    assert.match(screen.text(), /^app\.tar .* 24 % {2}1\.0 MB of 4\.0 MB {2}100 kB\/s {2}0:31\n$/);
  });

  for (const columns of [20, 60, 120])
    test(`redraws a bar for the layer and one for the file, within ${columns} columns`, (t) => {
      t.mock.timers.enable({ apis: ['setInterval'] });
      const screen = screenOf({ isTTY: true, columns });
      let now = 0;
      const progress = showTransfer(transfer, screen, () => now);
      for (const bytes of [MB, 2 * MB, MB]) {
        now += 1000;
        progress.count(Buffer.alloc(bytes));
        t.mock.timers.tick(100);
      }
      progress.stop();
      // Escape sequences take no columns.
      const drawings = drawingsIn(screen.text());
      const lines = drawings.flatMap((drawing) => drawing.split('\n'));
      for (const line of lines) assert.ok(line.length < columns, line);
      if (columns === 20) return;
      assert.match(drawings[0] ?? '', /^layer 1 of 2.*━─* +49 % .*\napp\.tar ━/);
      // A complete layer stays above the bars.
      assert.match(drawings[1] ?? '', /^layer 1 of 2 {2}a{12} {2}2\.0 MB\nlayer 1 of 2 .*\napp\.tar /);
      assert.match(drawings[2] ?? '', /^layer 2 of 2 .*\napp\.tar /);
    });
});

suite('the line of a layer', () => {
  const [layer] = layers;
  test('shows a bar if there is room, and always fits', () => {
    assert.ok(layer);
    const half = { ...layer, number: 2, count: 10, done: MB };
    assert.equal(
      layerLine(half, 80),
      'layer  2 of 10  aaaaaaaaaaaa ━━━━━━━━━━━━────────────  50 %  1.0 MB of 2.0 MB',
    );
    assert.equal(layerLine(half, 60), 'layer  2 of 10  aaaaaaaaaaaa ━━━────  50 %  1.0 MB of 2.0 MB');
    assert.equal(layerLine(half, 50), 'layer  2 of 10 ━━━━━──────  50 %  1.0 MB of 2.0 MB');
    for (let columns = 0; columns < 100; columns++) assert.ok(layerLine(half, columns).length <= columns);
    assert.equal(layerLine({ ...half, done: 2 * MB }, 30), 'layer  2 of 10  2.0 MB');
  });
});

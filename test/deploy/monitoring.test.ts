import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { createWorkerMetrics } from '../../src/telemetry/worker-metrics.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';

const folder = join(import.meta.dirname, '..', '..', 'deploy', 'monitoring');
const read = (name: string): string => readFileSync(join(folder, name), 'utf8');

suite('what deploy/monitoring watches', () => {
  for (const name of ['alerts.yml', 'grafana-dashboard.json']) {
    test(`${name}: every metric is one that there is`, async () => {
      const metrics = createMetrics({
        version: '0',
        isKnownRegistry: () => false,
        certificateEnd: () => 0,
        isCertificateFailing: () => false,
        isRedisConnected: () => true,
      });
      const known = new Set(
        [...(await metrics.text()).matchAll(/^# TYPE (\w+) (\w+)$/gm)].flatMap(([, metric, type]) =>
          type === 'histogram' ? [`${metric}_bucket`, `${metric}_count`, `${metric}_sum`] : [metric],
        ),
      );
      for (const worker of await createWorkerMetrics(() => 2).snapshot()) known.add(worker.name);
      const used = read(name).match(/\b(?:dockerproxy|nodejs|process)_\w+/g) ?? [];
      assert.ok(used.length > 5);
      assert.deepEqual(
        used.filter((metric) => !known.has(metric)),
        [],
      );
    });
  }

  test('promtool takes the alerts', { skip: skipUnless('promtool') }, async () => {
    await runOrThrow('promtool', ['check', 'rules', join(folder, 'alerts.yml')]);
  });

  test('the alerts fire when they should, and not otherwise', { skip: skipUnless('promtool') }, async () => {
    await runOrThrow('promtool', ['test', 'rules', join(import.meta.dirname, 'alerts.test.yml')]);
  });

  test('the dashboard is JSON, its panels do not overlap', () => {
    const { panels } = JSON.parse(read('grafana-dashboard.json'));
    const places = panels.map(({ gridPos: { x, y } }: { gridPos: { x: number; y: number } }) => `${x} ${y}`);
    assert.equal(new Set(places).size, panels.length);
  });
});

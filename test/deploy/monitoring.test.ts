import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { createWorkerMetrics } from '../../src/telemetry/worker-metrics.ts';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { waitFor } from '../support/wait-for.ts';

const folder = join(import.meta.dirname, '..', '..', 'deploy', 'monitoring');
const read = (name: string): string => readFileSync(join(folder, name), 'utf8');

suite('monitoring as in deploy/monitoring', () => {
  for (const name of ['alerts.yml', 'grafana-dashboard.json']) {
    test(`${name}: every metric is one that there is`, async () => {
      const metrics = createMetrics({
        version: '0',
        isKnownRegistry: () => false,
        certificateEnd: () => 0,
        isCertificateFailing: () => false,
        isRedisConnected: () => true,
        freeBytes: async () => 0,
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

  test('promtool accepts the alerts and the example for Prometheus', {
    skip: skipUnless('promtool'),
  }, async () => {
    await runOrThrow('promtool', ['check', 'rules', join(folder, 'alerts.yml')]);
    await runOrThrow('promtool', ['check', 'config', join(folder, 'prometheus.yml')]);
    const [, job = ''] = /job_name: (\w+)/.exec(read('prometheus.yml')) ?? [];
    const jobs = [...read('alerts.yml').matchAll(/job="(\w+)"/g)].map(([, name]) => name);
    assert.deepEqual([...new Set(jobs)], [job]);
  });

  for (const workers of [1, 2]) {
    const skip = skipUnless('promtool');
    test(`promtool takes what a service tells; workers: ${workers}`, { skip, timeout: 60_000 }, async () => {
      const args = ['--tls', 'self-signed', '--metrics-port', '0', '--workers', `${workers}`];
      await using proxy = await startDockerProxy({ args });
      const address = () =>
        proxy.logs().flatMap(({ msg }) => /^Metrics are at (\S+)$/.exec(msg)?.[1] ?? [])[0];
      const url = await waitFor(address, { what: 'the address of the metrics' });
      await httpCall(`${proxy.url}/dl?myimage=`);
      const { body } = await httpCall(url);
      assert.match(body.toString(), /^dockerproxy_certificate_expiry_timestamp_seconds \d+/m);
      const { stdout, stderr } = await runOrThrow('promtool', ['check', 'metrics'], { input: body });
      assert.equal(`${stdout}${stderr}`, '');
    });
  }

  test('each alert is tried', () => {
    const tests = readFileSync(join(import.meta.dirname, 'alerts.test.yml'), 'utf8');
    const alerts = [...read('alerts.yml').matchAll(/alert: (\w+)/g)].map(([, name]) => name);
    assert.ok(alerts.length > 5);
    assert.deepEqual(
      alerts.filter((name) => !tests.includes(`alertname: ${name}\n`)),
      [],
    );
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

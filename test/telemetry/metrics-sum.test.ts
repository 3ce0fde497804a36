import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts';
import { createMetricsSum } from '../../src/telemetry/metrics-sum.ts';

function metricsOf(certificateEnd?: number): Metrics {
  return createMetrics({
    version: '1.2.3',
    isKnownRegistry: () => true,
    certificateEnd: () => certificateEnd,
    isCertificateFailing: () => false,
  });
}

/** The value of one line; undefined if absent. */
function sample(text: string, series: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length));
}

const BYTES = 'dockerproxy_download_bytes_total';
const ACTIVE = 'dockerproxy_downloads_active';
const COUNT = 'dockerproxy_download_first_byte_seconds_count';
const BUCKET = 'dockerproxy_download_first_byte_seconds_bucket{le="0.1"}';

function download(metrics: Metrics, bytes: number): void {
  const { firstByte, sent } = metrics.http.download();
  firstByte(0.05);
  sent(bytes);
}

suite('metrics of several processes', () => {
  test('counters, histograms, and current values are summed', async () => {
    const [one, other] = [metricsOf(), metricsOf()];
    download(one, 100);
    download(other, 20);
    const text = await createMetricsSum().text([await one.snapshot(), await other.snapshot()]);
    assert.deepEqual(
      [BYTES, ACTIVE, COUNT, BUCKET].map((series) => sample(text, series)),
      [120, 2, 2, 2],
    );
  });

  test('values without a meaningful sum are the first, the least or the most', async () => {
    const [one, other] = [metricsOf(9000), metricsOf(5000)];
    one.upstream('registry-1.docker.io', 200, () => '80;w=21600');
    other.upstream('registry-1.docker.io', 200, () => '76;w=21600');
    const text = await createMetricsSum().text([await one.snapshot(), await other.snapshot()]);
    assert.equal(sample(text, 'dockerproxy_build_info{version="1.2.3"}'), 1);
    assert.equal(sample(text, 'dockerproxy_certificate_expiry_timestamp_seconds'), 5);
    assert.equal(sample(text, 'dockerproxy_dockerhub_pulls_remaining'), 76);
    assert.equal(sample(text, 'dockerproxy_dockerhub_pulls_limit'), 80);
    const started = sample(await one.text(), 'process_start_time_seconds');
    assert.equal(sample(text, 'process_start_time_seconds'), started);
  });

  test('a process without an answer from Docker Hub reports no remaining pulls', async () => {
    const [quiet, other] = [metricsOf(), metricsOf()];
    const pulls = async () => {
      const text = await createMetricsSum().text([await quiet.snapshot(), await other.snapshot()]);
      return ['remaining', 'limit'].map((name) => sample(text, `dockerproxy_dockerhub_pulls_${name}`));
    };
    assert.deepEqual(await pulls(), [undefined, undefined]);
    other.upstream('registry-1.docker.io', 200, () => '76;w=21600');
    assert.deepEqual(await pulls(), [76, 76]);
  });

  test('counters of an ended process stay, and its gauges do not', async () => {
    const sum = createMetricsSum();
    const living = metricsOf();
    download(living, 1);
    for (const bytes of [100, 20]) {
      const ending = metricsOf();
      download(ending, bytes);
      await sum.retire(await ending.snapshot());
    }
    const text = await sum.text([await living.snapshot()]);
    assert.deepEqual(
      [BYTES, ACTIVE, COUNT].map((series) => sample(text, series)),
      [121, 1, 3],
    );
  });

  test('one that ends at that moment counts once', async () => {
    const sum = createMetricsSum();
    const ending = metricsOf();
    download(ending, 100);
    const last = await ending.snapshot();
    const text = sum.text([last]);
    await sum.retire(last);
    assert.equal(sample(await text, BYTES), 100);
    assert.equal(sample(await sum.text([]), BYTES), 100);
  });
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { detail } from '../../src/errors/details.ts';
import { ServiceError } from '../../src/errors.ts';
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts';
import { createMemoryCaches } from '../../src/util/memory-caches.ts';
import { streamFrom } from '../../src/util/streams.ts';
import { ETAG, type ServerSetup, sampleArchive, startServer } from '../http/samples.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { waitFor } from '../support/wait-for.ts';

const DL = '/dl?myimage=busybox';

function metricsOf(
  certificateEnd?: number,
  isCertificateFailing = false,
  uptime = () => performance.now(),
): Metrics {
  return createMetrics({
    uptime,
    version: '1.2.3',
    isKnownRegistry: (host) => host === 'ghcr.io',
    certificateEnd: () => certificateEnd,
    isCertificateFailing: () => isCertificateFailing,
  });
}

/** The value of one line, such as `dockerproxy_downloads_active`; undefined if absent. */
async function sample(metrics: Metrics, series: string): Promise<number | undefined> {
  const line = (await metrics.text()).split('\n').find((text) => text.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length));
}

async function reaches(metrics: Metrics, series: string, value: number): Promise<void> {
  await waitFor(async () => (await sample(metrics, series)) === value, { what: `${series} ${value}` });
}

async function measured(setup: ServerSetup = {}) {
  const metrics = metricsOf();
  const server = await startServer({ ...setup, meter: metrics.http });
  return { metrics, server, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

suite('metrics of caches in memory', () => {
  test('say the bytes and the limit of each', async () => {
    const caches = createMemoryCaches(() => 0);
    const metrics = createMetrics({
      ...{ version: '1.2.3', isKnownRegistry: () => false, cacheUses: caches.uses },
      ...{ certificateEnd: () => undefined, isCertificateFailing: () => false },
    });
    const cache = caches.open<string>({ name: 'tags', limit: 5000 });
    const bytes = (): Promise<number | undefined> =>
      sample(metrics, 'dockerproxy_memory_cache_bytes{cache="tags"}');
    assert.equal(await sample(metrics, 'dockerproxy_memory_cache_limit_bytes{cache="tags"}'), 5000);
    assert.equal(await bytes(), 0);
    cache.set('k', 'x'.repeat(1000));
    assert.ok(((await bytes()) ?? 0) > 1000);
  });
});

suite('metrics of requests', { timeout: 600_000 }, () => {
  test('a download counts with its route, its bytes and its times', async () => {
    await using bed = await measured();
    await bed.server.get(DL);
    await bed.server.get(DL, { range: 'bytes=0-99' });
    const { metrics } = bed;
    await reaches(metrics, 'dockerproxy_http_requests_total{route="/dl",method="GET",status="200"}', 1);
    await reaches(metrics, 'dockerproxy_http_requests_total{route="/dl",method="GET",status="206"}', 1);
    await reaches(metrics, 'dockerproxy_download_bytes_total', 10_100);
    await reaches(metrics, 'dockerproxy_download_seconds_count{result="ok"}', 2);
    await reaches(metrics, 'dockerproxy_download_first_byte_seconds_count', 2);
    await reaches(metrics, 'dockerproxy_downloads_active', 0);
  });

  test('requests without an archive are not downloads', async () => {
    await using bed = await measured();
    await bed.server.send('HEAD', DL);
    await bed.server.get(DL, { 'if-none-match': ETAG });
    const { metrics } = bed;
    await reaches(metrics, 'dockerproxy_http_requests_total{route="/dl",method="HEAD",status="200"}', 1);
    await reaches(metrics, 'dockerproxy_http_requests_total{route="/dl",method="GET",status="304"}', 1);
    assert.equal(await sample(metrics, 'dockerproxy_download_seconds_count{result="ok"}'), undefined);
  });

  test('a download that breaks is a failed one, and is active until then', async () => {
    const broken = Promise.withResolvers<void>();
    await using bed = await measured({
      open: () =>
        sampleArchive({
          read: (_range, signal) =>
            streamFrom(async function* () {
              yield Buffer.alloc(100);
              await broken.promise;
              throw new ServiceError('registry-failed', detail('registry-failed', { host: 'a.io' }));
            }, signal),
        }),
    });
    const { metrics, server } = bed;
    const answer = server.get(DL);
    await reaches(metrics, 'dockerproxy_downloads_active', 1);
    broken.resolve();
    await answer;
    await reaches(metrics, 'dockerproxy_download_seconds_count{result="failed"}', 1);
    await reaches(metrics, 'dockerproxy_downloads_active', 0);
  });

  test('refusals count by their code and their limit', async () => {
    await using bed = await measured({
      allow: ['ghcr.io/**'],
      limits: { rateLimit: { limit: 1, window: 60_000 } },
    });
    await bed.server.get(DL);
    await bed.server.get(DL);
    await reaches(bed.metrics, 'dockerproxy_refusals_total{code="image-not-allowed",limit=""}', 1);
    await reaches(bed.metrics, 'dockerproxy_refusals_total{code="too-many-requests",limit="requests"}', 1);
  });

  test('a mistake of ours counts from 0 on, so that the first one is seen to be one more', async () => {
    const series = 'dockerproxy_refusals_total{code="internal-error",limit=""}';
    assert.equal(await sample(metricsOf(), series), 0);
  });

  test('labels do not grow with what strangers ask for', async () => {
    await using bed = await measured();
    for (const path of ['/a', '/b/c', '/dl/one.tar', '/dl/two.tar']) await bed.server.get(path);
    await reaches(bed.metrics, 'dockerproxy_http_requests_total{route="/dl/*",method="GET",status="200"}', 2);
    const routes = [...(await bed.metrics.text()).matchAll(/route="([^"]*)"/g)].map(([, route]) => route);
    assert.ok(new Set(routes).size <= 2, routes.join());
  });
});

suite('metrics of what is behind', () => {
  test('registries that are known stand by name, others together', async () => {
    const metrics = metricsOf();
    metrics.upstream('ghcr.io', 200, () => undefined);
    for (const host of ['a.example', 'b.example']) metrics.upstream(host, undefined, () => undefined);
    assert.equal(
      await sample(metrics, 'dockerproxy_upstream_requests_total{registry="ghcr.io",status="200"}'),
      1,
    );
    assert.equal(
      await sample(metrics, 'dockerproxy_upstream_requests_total{registry="other",status="none"}'),
      2,
    );
  });

  test('Docker Hub’s remaining pulls count, those of other registries do not', async () => {
    const metrics = metricsOf();
    const header = (name: string): string => (name === 'ratelimit-limit' ? '100;w=21600' : '76;w=21600');
    metrics.upstream('ghcr.io', 200, () => '1;w=1');
    metrics.upstream('registry-1.docker.io', 200, header);
    assert.equal(await sample(metrics, 'dockerproxy_dockerhub_pulls_limit'), 100);
    assert.equal(await sample(metrics, 'dockerproxy_dockerhub_pulls_remaining'), 76);
  });

  test('Docker Hub’s remaining pulls are unknown again after their window', async () => {
    let now = 0;
    const metrics = metricsOf(undefined, false, () => now);
    metrics.upstream('registry-1.docker.io', 200, () => '3;w=21600');
    now = 21_600_000 - 1;
    assert.equal(await sample(metrics, 'dockerproxy_dockerhub_pulls_remaining'), 3);
    now += 1;
    assert.equal(await sample(metrics, 'dockerproxy_dockerhub_pulls_remaining'), undefined);
    assert.equal(await sample(metrics, 'dockerproxy_dockerhub_pulls_limit'), undefined);
  });

  test('the cache tells hits, misses and their bytes', async () => {
    const metrics = metricsOf();
    metrics.cache('hit', 100);
    metrics.cache('hit', 20);
    metrics.cache('miss', 3);
    assert.equal(await sample(metrics, 'dockerproxy_cache_reads_total{result="hit"}'), 2);
    assert.equal(await sample(metrics, 'dockerproxy_cache_read_bytes_total{result="hit"}'), 120);
    assert.equal(await sample(metrics, 'dockerproxy_cache_read_bytes_total{result="miss"}'), 3);
  });

  test('the expiry of an existing certificate is reported', async () => {
    const series = 'dockerproxy_certificate_expiry_timestamp_seconds';
    assert.equal(await sample(metricsOf(5000), series), 5);
    assert.equal(await sample(metricsOf(), series), undefined);
  });

  test('a failing certificate order is reported', async () => {
    const series = 'dockerproxy_certificate_failing';
    assert.equal(await sample(metricsOf(5000), series), 0);
    assert.equal(await sample(metricsOf(5000, true), series), 1);
  });

  test('two sets in one process are two', async () => {
    const [one, other] = [metricsOf(), metricsOf()];
    one.cache('hit', 1);
    assert.equal(await sample(other, 'dockerproxy_cache_reads_total{result="hit"}'), undefined);
    assert.notEqual(await sample(one, 'nodejs_eventloop_lag_p99_seconds'), undefined);
  });

  test('promtool finds nothing to object to', { skip: skipUnless('promtool') }, async () => {
    const metrics = metricsOf(Date.now());
    metrics.http.answered('/dl', 'GET', 200);
    metrics.http.download().end('ok', 1);
    metrics.cache('hit', 1);
    metrics.upstream('ghcr.io', 200, () => undefined);
    const { stdout, stderr } = await runOrThrow('promtool', ['check', 'metrics'], {
      input: await metrics.text(),
    });
    assert.equal(`${stdout}${stderr}`, '');
  });
});

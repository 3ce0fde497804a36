import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Value } from 'typebox/value';
import { ClientLimits } from '../../../src/http/api/limits.ts';
import { problemOf, type RunningServer, sharedServer, startServer } from '../samples.ts';

async function limitsOf(server: RunningServer, headers = {}): Promise<ClientLimits> {
  const answer = await server.get('/api/v1/limits', headers);
  assert.equal(answer.status, 200, answer.head);
  assert.equal(answer.header('cache-control'), 'no-store');
  const body: unknown = JSON.parse(answer.body.toString());
  assert.ok(Value.Check(ClientLimits, body), JSON.stringify([...Value.Errors(ClientLimits, body)]));
  return body;
}

suite('GET /api/v1/limits', { timeout: 600_000 }, () => {
  test('tells the client what it has left', async () => {
    const limits = { rateLimit: { limit: 60, window: 60_000 }, downloadsPerIp: 4, dailyBytes: 100_000 };
    await using server = await startServer({ limits });
    assert.equal((await server.get('/dl?myimage=busybox')).status, 200);
    const { client, requests, downloads, bytes } = await limitsOf(server);
    assert.equal(client, '127.0.0.1');
    assert.deepEqual(
      { ...requests, resetsInSeconds: 0 },
      {
        limit: 60,
        remaining: 59,
        resetsInSeconds: 0,
        windowSeconds: 60,
      },
    );
    assert.ok(requests && requests.resetsInSeconds > 50 && requests.resetsInSeconds <= 60);
    assert.deepEqual(downloads, { limit: 4, active: 0 });
    assert.deepEqual(
      { ...bytes, resetsInSeconds: 0 },
      { limit: 100_000, remaining: 90_000, resetsInSeconds: 0 },
    );
    assert.ok(bytes && bytes.resetsInSeconds > 86_300 && bytes.resetsInSeconds <= 86_400);
  });

  test('reports every limit of RateLimit-Policy', async () => {
    const rate = { limit: 60, window: 60_000 };
    const limits = {
      ...{ rateLimit: rate, pageRateLimit: { ...rate, limit: 600 }, downloadsPerIp: 4 },
      ...{ connectionsPerDownload: 32, dailyBytes: 100_000, bandwidthPerIp: 5_000_000 },
      maxDownloads: 1000,
    };
    await using server = await startServer({ limits });
    const found = await limitsOf(server);
    const reported = Object.entries(found).flatMap(([name, limit]) =>
      limit !== null && typeof limit === 'object' ? [[name, limit.limit]] : [],
    );
    const policy = (await server.get('/api/v1/info')).header('ratelimit-policy') ?? '';
    const stated = policy.split(', ').map((item) => {
      const [, name, quota] = /^"(\w+)";q=(\d+)(?:;|$)/.exec(item) ?? [];
      return [name, Number(quota)];
    });
    assert.deepEqual(stated, reported);
    assert.deepEqual(
      stated.map(([name]) => name),
      ['requests', 'pages', 'downloads', 'connections', 'bytes', 'bandwidth', 'service'],
    );
  });

  test('counts as a page, and reports the remaining requests for pages', async () => {
    await using server = await startServer({ limits: { pageRateLimit: { limit: 3, window: 60_000 } } });
    assert.equal((await limitsOf(server)).pages?.remaining, 2);
    const page = await server.get('/');
    assert.equal(page.status, 200);
    assert.equal(page.header('ratelimit-policy'), '"pages";q=3;w=60');
    assert.match(page.header('ratelimit') ?? '', /^"pages";r=1;t=\d+$/);
    assert.equal((await limitsOf(server)).pages?.remaining, 0);
  });

  test('reports null without a limit', async () => {
    await using server = await startServer({ trustProxy: ['127.0.0.1'] });
    assert.deepEqual(await limitsOf(server, { 'x-forwarded-for': '2001:db8:1:2:3::4' }), {
      client: '2001:db8:1:2::/64',
      requests: null,
      pages: null,
      downloads: null,
      connections: null,
      bytes: null,
      bandwidth: null,
      service: null,
    });
  });

  test('tells clients of IPv6 apart as they are counted', async () => {
    const rateLimit = { limit: 10, window: 60_000 };
    await using server = await startServer({ trustProxy: ['127.0.0.1'], limits: { rateLimit } });
    const left = async (client: string) => {
      await server.get('/api/v1/info', { 'x-forwarded-for': client });
      return (await limitsOf(server, { 'x-forwarded-for': client })).requests?.remaining;
    };
    assert.equal(await left('2001:db8:1:2:3::4'), 9);
    assert.equal(await left('2001:db8:1:2:5::6'), 8);
    assert.equal(await left('2001:db8:1:3::'), 9);
  });

  test('takes no parameters', async () => {
    await using server = await sharedServer();
    const answer = await server.get('/api/v1/limits?client=192.0.2.1');
    assert.equal(answer.status, 400);
    assert.equal(problemOf(answer).status, 400);
  });
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { loadConfig } from '../../../src/config/loader.ts';
import { detail } from '../../../src/errors/details.ts';
import { ServiceError } from '../../../src/errors.ts';
import { createMemoryCountingStore } from '../../../src/limits/memory-counting-store.ts';
import {
  type Answer,
  problemOf,
  type RunningServer,
  type ServerSetup,
  sharedServer,
  startServer,
} from '../samples.ts';

const DL = '/dl?myimage=busybox';
const limits = { rateLimit: { limit: 3, window: 60_000 } };

async function statuses(server: RunningServer, paths: string[], headers: Record<string, string> = {}) {
  const all: number[] = [];
  for (const path of paths) all.push((await server.get(path, headers)).status);
  return all;
}

function assertRefused(answer: Answer): void {
  assert.equal(answer.status, 429, answer.head);
  const problem = problemOf(answer) as ReturnType<typeof problemOf> & { 'violated-policies': string[] };
  const seconds = Number(answer.header('retry-after'));
  assert.ok(seconds > 0 && seconds <= 60, answer.head);
  assert.equal(problem.code, 'too-many-requests');
  assert.equal(problem.retryAfter, seconds);
  assert.deepEqual(problem['violated-policies'], ['requests']);
  assert.match(problem.detail, /3 requests in 60 s \(RATE_LIMIT\).* in \d+ s\.$/);
  assert.match(answer.reason, /^More than 3 requests in 60 s; go on in \d+ s$/);
  assert.equal(answer.header('ratelimit-limit'), '3');
  assert.equal(answer.header('ratelimit-remaining'), '0');
  assert.equal(answer.header('ratelimit-reset'), `${seconds}`);
  assert.equal(answer.header('ratelimit'), `"requests";r=0;t=${seconds}`);
  assert.equal(answer.header('ratelimit-policy'), '"requests";q=3;w=60');
  assert.equal(answer.header('cache-control'), 'no-store');
}

suite('the rate of requests', { timeout: 600_000 }, () => {
  test('is in each answer, and past it a 429 states when to try again', async () => {
    await using server = await startServer({ limits });
    for (const left of [2, 1, 0]) {
      const answer = await server.get(DL);
      assert.equal(answer.status, 200);
      assert.equal(answer.header('ratelimit-limit'), '3');
      assert.equal(answer.header('ratelimit-remaining'), `${left}`);
      assert.match(answer.header('ratelimit-reset') ?? '', /^(60|59)$/);
      assert.match(answer.header('ratelimit') ?? '', new RegExp(`^"requests";r=${left};t=(60|59)$`));
      assert.equal(answer.header('retry-after'), undefined);
    }
    assertRefused(await server.get(DL));
    assertRefused(await server.get('/dl/busybox.tar'));
    assertRefused(await server.get('/api/v1/info'));
    assert.equal(server.requests.length, 3);
    const lines = server.log.filter(({ msg }) => msg === '127.0.0.1 has reached the rate of requests');
    assert.equal(lines.length, 1);
  });

  test('counts downloads, HEAD, progress, the API, and whatever finds nothing', async () => {
    for (const path of [
      '/dl/busybox.tar',
      '/dl/status?myimage=busybox',
      '/dl?myimage=UPPER',
      '/dl/x',
      '/api/v1/info',
      '/api/v1/none',
      '/nothing',
      '/web/none.js',
    ]) {
      await using server = await startServer({ limits });
      await server.get(path);
      const answer = await server.send('HEAD', DL);
      assert.equal(answer.header('ratelimit-remaining'), '1', path);
    }
  });

  test('counts every documented route below /dl and /api except /api/v1/limits', async () => {
    await using server = await startServer({ limits: { rateLimit: { limit: 99, window: 60_000 } } });
    const { paths } = JSON.parse((await server.get('/openapi.json')).body.toString());
    const counting = Object.keys(paths).filter((path) => /^\/(?:dl|api)\b/.test(path));
    assert.ok(counting.length >= 8, counting.join());
    for (const path of counting) {
      const { head } = await server.get(path.replaceAll(/[{}]/g, ''));
      assert.equal(/^ratelimit: "requests"/im.test(head), path !== '/api/v1/limits', path);
    }
  });

  test('counts neither health checks, the page nor what is left, which answer past it, too', async () => {
    await using server = await startServer({ limits });
    const free = ['/healthz', '/', '/api/v1/limits'];
    for (const path of free)
      assert.deepEqual(await statuses(server, Array(5).fill(path)), Array(5).fill(200), path);
    assert.deepEqual(await statuses(server, [DL, DL, DL, DL]), [200, 200, 200, 429]);
    assert.deepEqual(await statuses(server, free), [200, 200, 200]);
    assert.equal((await server.get('/healthz')).header('ratelimit-limit'), undefined);
  });

  test('is in refusals of other kinds, too', async () => {
    await using server = await startServer({
      limits,
      open: () =>
        Promise.reject(new ServiceError('image-not-found', detail('image-unknown', { image: 'busybox' }))),
    });
    const answer = await server.get(DL);
    assert.equal(answer.status, 404);
    assert.equal(answer.header('ratelimit-remaining'), '2');
    assert.equal((await server.get('/nothing')).header('ratelimit-remaining'), '1');
  });

  test('begins again when its window is over', async () => {
    const clock = { now: Date.now() };
    await using server = await startServer({ limits, store: createMemoryCountingStore(() => clock.now) });
    assert.deepEqual(await statuses(server, [DL, DL, DL, DL]), [200, 200, 200, 429]);
    clock.now += 60_000;
    assert.deepEqual(await statuses(server, [DL]), [200]);
  });

  test('has no headers without a limit', async () => {
    await using server = await sharedServer();
    const answer = await server.get(DL);
    assert.doesNotMatch(answer.head, /ratelimit/i);
  });
});

suite('the rate of pages', { timeout: 60_000 }, () => {
  const pageLimits = { pageRateLimit: { limit: 4, window: 60_000 } };

  test('refuses one client, and neither others nor health checks, downloads and the API', async () => {
    await using server = await startServer({ limits: pageLimits, trustProxy: ['127.0.0.1'] });
    assert.deepEqual(await statuses(server, Array(6).fill('/')), [200, 200, 200, 200, 429, 429]);
    const refused = await server.get('/', { accept: 'text/html' });
    assert.equal(refused.status, 429);
    assert.ok(Number(refused.header('retry-after')) > 0);
    assert.match(refused.body.toString(), /PAGE_RATE_LIMIT/);
    assert.deepEqual(
      await statuses(server, ['/healthz', '/readyz', DL, '/api/v1/info']),
      [200, 200, 200, 200],
    );
    assert.equal((await server.get('/', { 'x-forwarded-for': '192.0.2.7' })).status, 200);
    assert.equal(server.log.filter(({ msg }) => /reached the rate of pages/.test(msg)).length, 1);
  });

  test('counts assets, documents and problem pages of every kind', async () => {
    const app = await sharedServer();
    const assets = /"(\/assets\/[\w-]+)\/app\.js"/.exec((await app.get('/')).body.toString())?.[1];
    await app[Symbol.asyncDispose]();
    const kinds: [method: string, path: string, status: number][] = [
      ['GET', `${assets}/app.js`, 200],
      ['HEAD', '/', 200],
      ['GET', '/openapi.json', 200],
      ['GET', '/delta.sh', 200],
      ['GET', '/api/v1/limits', 200],
      ['GET', '/nothing', 404],
      ['POST', '/', 405],
      ['GET', `/${'a'.repeat(9000)}`, 414],
    ];
    for (const [method, path, status] of kinds) {
      await using server = await startServer({ limits: pageLimits });
      const asked: number[] = [];
      for (let at = 0; at < 5; at++) asked.push((await server.send(method, path)).status);
      assert.deepEqual(asked, [status, status, status, status, 429], `${method} ${path}`.slice(0, 80));
    }
  });

  test('leaves a visitor room for dozens of pages a minute by default', async () => {
    const { pageRateLimit } = loadConfig({ argv: [], environment: {}, home: '/nowhere', isRoot: false });
    await using server = await startServer({ limits: { pageRateLimit } });
    const html = (await server.get('/')).body.toString();
    const assets = [...html.matchAll(/(?:src|href)="(\/assets[^"]+)"/g)].map(([, path = '']) => path);
    const visits = Array.from({ length: 10 }, () => ['/', ...assets]).flat();
    assert.deepEqual(new Set(await statuses(server, visits)), new Set([200]));
  });
});

suite('the identity of a client', { timeout: 600_000 }, () => {
  const behindProxy: ServerSetup = { limits, trustProxy: ['127.0.0.1'] };
  const left = async (server: RunningServer, client: string): Promise<string | undefined> =>
    (await server.get(DL, { 'x-forwarded-for': client })).header('ratelimit-remaining');

  test('an IPv4 address, however it is written, and an IPv6 /64', async () => {
    await using server = await startServer(behindProxy);
    assert.equal(await left(server, '192.0.2.7'), '2');
    assert.equal(await left(server, '::ffff:192.0.2.7'), '1');
    assert.equal(await left(server, '192.0.2.8'), '2');
    assert.equal(await left(server, '2001:db8:0:1::1'), '2');
    assert.equal(await left(server, '2001:db8:0:1:ffff::'), '1');
    assert.equal(await left(server, '2001:db8:0:2::1'), '2');
  });

  test('cannot be changed by headers without a trusted proxy', async () => {
    await using server = await startServer({ limits });
    const headers = [
      'x-forwarded-for',
      'x-real-ip',
      'forwarded',
      'x-client-ip',
      'true-client-ip',
      'cf-connecting-ip',
    ];
    for (const [at, name] of headers.entries()) {
      const { status } = await server.get(DL, { [name]: `192.0.2.${at}` });
      assert.equal(status, at < 3 ? 200 : 429, name);
    }
  });

  test('cannot be changed by a client before its proxy’s addition', async () => {
    await using server = await startServer(behindProxy);
    for (const [at, left] of ['2', '1', '0'].entries()) {
      const answer = await server.get(DL, { 'x-forwarded-for': `203.0.113.${at}, 192.0.2.7` });
      assert.equal(answer.header('ratelimit-remaining'), left);
    }
    assert.equal((await server.get(DL, { 'x-forwarded-for': '10.0.0.1, 192.0.2.7' })).status, 429);
  });
});

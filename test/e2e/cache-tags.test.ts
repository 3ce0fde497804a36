import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { DockerProxy } from '../support/dockerproxy.ts';
import type { Fault } from '../support/fault-proxy.ts';
import { skipUnless } from '../support/packages.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  type CacheBed,
  isKept,
  isRight,
  livesWell,
  type PublishedImage,
  startCacheBed,
} from './cache-bed.ts';

suite('tags with a cache', { skip: skipUnless('docker-registry') }, () => {
  let bed: CacheBed;
  let published: PublishedImage;

  before(async () => {
    bed = await startCacheBed();
    published = await bed.publish('test/tagged', [100_000]);
  });
  after(() => bed[Symbol.asyncDispose]());

  /** The requests that the registry received, such as `HEAD latest`. */
  const asked = (): string[] =>
    bed.upstream.requests
      .filter(({ path }) => path.includes('/manifests/'))
      .map(({ method, path }) => `${method} ${path.split('/').at(-1)}`);
  const manifestFault = (fault: Fault): void =>
    bed.upstream.inject(({ path }) => (path.includes('/manifests/') ? fault : undefined));
  const okLine = (proxy: DockerProxy): string | undefined =>
    proxy.logs().findLast(({ msg }) => msg.startsWith('[OK]'))?.msg;

  test('the second request costs a HEAD and nothing else', async () => {
    await using proxy = await bed.startAnew();
    await bed.check(proxy, published);
    assert.deepEqual(asked(), ['GET latest']);
    bed.reset();
    await bed.check(proxy, published);
    assert.deepEqual(
      bed.upstream.requests.map(({ method, path }) => `${method} ${path.split('/').at(-1)}`),
      ['HEAD latest'],
    );
  });

  test('many requests at once share one', async () => {
    await using proxy = await bed.startAnew();
    const gate = Promise.withResolvers<void>();
    bed.upstream.inject(() => ({ kind: 'hold', until: gate.promise }));
    const all = Array.from({ length: 20 }, () => bed.get(proxy, published));
    const logged = () => proxy.logs().filter(({ msg }) => msg.startsWith('Downloading')).length;
    await waitFor(() => logged() === 20 && bed.upstream.requests.length > 0);
    gate.resolve();
    for (const one of await Promise.all(all)) isRight(one, published);
    assert.deepEqual(asked(), ['GET latest']);
  });

  test('a tag that moves is followed at once', async () => {
    await using proxy = await bed.startAnew();
    const old = await bed.publish('test/moving', [10_000]);
    await bed.check(proxy, old);
    const moved = await bed.publish('test/moving', [20_000]);
    assert.notEqual(moved.expected.sha256, old.expected.sha256);
    await bed.check(proxy, moved);
    assert.deepEqual(asked(), ['HEAD latest', `GET ${moved.manifest}`]);
    await bed.check(proxy, moved);
    assert.deepEqual(asked(), ['HEAD latest', `GET ${moved.manifest}`, 'HEAD latest']);
  });

  test('while the registry is down, what is known is served, and says so', async () => {
    const folder = await bed.newFolder();
    {
      await using proxy = await bed.start(folder);
      await bed.check(proxy, published);
      for (const digest of [published.config, ...published.layers.map((layer) => layer.digest)]) {
        await isKept(folder, { digest });
      }
    }
    await bed.registry.stop();
    try {
      // Also in a process that has never requested the tag.
      await using proxy = await bed.start(folder);
      const stale = await bed.get(proxy, published);
      isRight(stale, published);
      assert.match(
        `${stale.headers['dockerproxy-notice']}`,
        /^the registry does not answer: the tag pointed here on \d{4}-\d\d-\d\dT/,
      );
      await waitFor(() => /; the registry does not answer, known since \d{4}-/.test(okLine(proxy) ?? ''));
      const pinned = { ...published, name: `${published.name}@${published.manifest}` };
      const { status, headers } = await bed.get(proxy, pinned);
      assert.deepEqual([status, headers['dockerproxy-notice']], [200, undefined], 'a digest is never stale');
      const unknown = await bed.get(proxy, { ...published, name: 'test/unknown' });
      assert.equal(unknown.status, 502);
    } finally {
      await bed.registry.restart();
    }
  });

  for (const [what, fault] of [
    ['429', { kind: 'answer', status: 429, headers: { 'retry-after': '3600' } }],
    ['500', { kind: 'answer', status: 500 }],
    ['503', { kind: 'answer', status: 503 }],
    ['a broken connection', { kind: 'drop' }],
    ['nothing at all', { kind: 'hold', until: new Promise(() => {}) }],
  ] as const) {
    test(`if the registry answers with ${what}, what is known is served`, async () => {
      await using proxy = await bed.startAnew();
      await bed.check(proxy, published);
      manifestFault(fault);
      const stale = await bed.get(proxy, published);
      isRight(stale, published);
      assert.match(`${stale.headers['dockerproxy-notice']}`, /the registry does not answer/);
      bed.upstream.inject(undefined);
      const { headers } = await bed.get(proxy, published);
      assert.equal(headers['dockerproxy-notice'], undefined);
      livesWell(proxy);
    });
  }

  test('a tag that the registry does not know results in 404', async () => {
    await using proxy = await bed.startAnew();
    await bed.check(proxy, published);
    manifestFault({ kind: 'answer', status: 404 });
    assert.equal((await bed.get(proxy, published)).status, 404);
  });

  test('cached tags are no longer served after the time in the settings', async () => {
    const env = { DOCKERPROXY_STALE_IF_ERROR: '1s' };
    await using proxy = await bed.startAnew(env);
    await bed.check(proxy, published);
    manifestFault({ kind: 'answer', status: 503 });
    await waitFor(async () => (await bed.get(proxy, published)).status === 503);
  });
});

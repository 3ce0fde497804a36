import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { type CacheBed, isKept, onlyVerified, type PublishedImage, startCacheBed } from '../e2e/cache-bed.ts';
import type { DockerProxy } from '../support/dockerproxy.ts';
import { startDownload } from '../support/download.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { waitFor } from '../support/wait-for.ts';

const SIZE = 20_000_000;
const WORKERS = { DOCKERPROXY_WORKERS: '2' };

/** Returns the processes that have started a download. */
function servers(proxy: DockerProxy): Set<unknown> {
  const begun = proxy.logs().filter(({ msg }) => /^Downloading image: /.test(msg));
  return new Set(begun.map(({ pid }) => pid));
}

/** Counts the responses by status. */
function tally(statuses: readonly number[]): Record<number, number> {
  return Object.fromEntries(
    [...new Set(statuses)].sort().map((one) => [one, statuses.filter((status) => status === one).length]),
  );
}

async function limitsOf({ url }: DockerProxy) {
  const { body } = await httpCall(`${url}/api/v1/limits`);
  return JSON.parse(body.toString()) as { downloads: { active: number }; bytes: { remaining: number } };
}

suite('state that several processes share', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  let bed: CacheBed;
  let large: PublishedImage;
  let layered: PublishedImage;
  let tags: PublishedImage[];

  before(async () => {
    bed = await startCacheBed();
    large = await bed.publish('test/large', [SIZE]);
    layered = await bed.publish('test/layered', [1, 70_000, 2_000_000, 0, 3_000_000]);
    const names = Array.from({ length: 8 }, (_, at) => `v${at}`);
    tags = await Promise.all(names.map((tag) => bed.publish('test/large', [SIZE], tag)));
  });
  after(() => bed[Symbol.asyncDispose]());

  test('each blob and the manifest cost the registry one request, however many want them', async () => {
    await using proxy = await bed.startAnew(WORKERS);
    // On a busy machine, one worker can accept all connections that come at the same time.
    const bothServe = async () => {
      await Promise.all(Array.from({ length: 20 }, () => bed.check(proxy, layered)));
      return servers(proxy).size === 2;
    };
    await waitFor(bothServe, { what: 'both workers to serve' });
    for (const { digest } of layered.layers) assert.equal(bed.gets(digest).length, 1, digest);
    assert.equal(bed.gets(layered.config).length, 1);
    assert.equal([...bed.gets('latest'), ...bed.gets(layered.manifest)].length, 1, 'GETs of the manifest');
    for (const layer of layered.layers) await isKept(proxy.folder, layer);
    await onlyVerified(proxy.folder);
  });

  suite('the limits of one service', () => {
    const REQUESTS = 40;
    let proxy: DockerProxy;

    before(async () => {
      proxy = await bed.startAnew({
        ...WORKERS,
        DOCKERPROXY_RATE_LIMIT: `${REQUESTS}/hour`,
        DOCKERPROXY_DOWNLOADS_PER_IP: '3',
        DOCKERPROXY_DAILY_BYTES: `${5 * large.expected.size}`,
      });
    });
    after(() => proxy[Symbol.asyncDispose]());

    test('simultaneous downloads over all connections are counted exactly', async () => {
      assert.deepEqual(
        proxy.logs().filter(({ level }) => level >= 40),
        [],
      );
      const downloads = tags.map((tag) => startDownload(bed.url(proxy, tag), { pauseAt: 1 }));
      await waitFor(() => downloads.every((one) => one.received() > 0), {
        what: 'all responses',
      });
      assert.equal((await limitsOf(proxy)).downloads.active, 3);
      for (const one of downloads) one.resume();
      const statuses = await Promise.all(downloads.map(async ({ done }) => (await done).status));
      assert.deepEqual(tally(statuses), { 200: 3, 429: 5 });
      await waitFor(async () => (await limitsOf(proxy)).downloads.active === 0);
    });

    test('the bytes of a day over all connections are counted together', async () => {
      await bed.check(proxy, large);
      await bed.check(proxy, large);
      await waitFor(async () => (await limitsOf(proxy)).bytes.remaining === 0);
      const answers = await Promise.all(Array.from({ length: 8 }, () => httpCall(bed.url(proxy, layered))));
      assert.deepEqual(tally(answers.map(({ status }) => status)), { 429: 8 });
    });

    test('requests over all connections are counted exactly', async () => {
      const earlier = tags.length + 2 + 8;
      const answers = await Promise.all(Array.from({ length: 60 }, () => httpCall(`${proxy.url}/dl`)));
      const left = REQUESTS - earlier;
      assert.deepEqual(tally(answers.map(({ status }) => status)), { 400: left, 429: 60 - left });
    });
  });
});

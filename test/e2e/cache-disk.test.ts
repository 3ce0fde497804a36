import assert from 'node:assert/strict';
import { mkdir, open, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { DockerProxy } from '../support/dockerproxy.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  blobPath,
  type CacheBed,
  filesOf,
  incomingPath,
  isKept,
  isQuiet,
  isRight,
  livesWell,
  onlyVerified,
  openFiles,
  type PublishedImage,
  sizeOf,
  startCacheBed,
} from './cache-bed.ts';

const MIB = 2 ** 20;
const canMount = process.platform === 'linux' && process.getuid?.() === 0;
const parts = skipUnless('docker-registry');

suite('a cache on a disk that is full', {
  skip: parts || (canMount ? false : 'a small disk is mounted, which needs root'),
}, () => {
  let bed: CacheBed;
  let large: PublishedImage;
  let small: PublishedImage;

  before(async () => {
    bed = await startCacheBed();
    large = await bed.publish('test/large', [20_000_000]);
    small = await bed.publish('test/small', [100_000]);
  });
  after(() => bed[Symbol.asyncDispose]());

  /** Mounts a disk of a size in MiB as the cache's folder. The bed unmounts it. */
  const disk = async (mebibytes: number): Promise<string> => {
    const folder = await bed.newFolder();
    await mkdir(folder, { recursive: true });
    await runOrThrow('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', folder]);
    return folder;
  };
  /** Takes all the free space. */
  const fill = async (folder: string): Promise<void> => {
    const file = await open(join(folder, 'ballast'), 'w');
    try {
      for (let size = MIB; size >= 1; ) {
        const isFull = await file.write(Buffer.alloc(size)).then(() => false, isNoSpace);
        if (isFull) size /= 2;
      }
    } finally {
      await file.close();
    }
  };
  const warnings = (proxy: DockerProxy): string[] =>
    proxy.logs().flatMap(({ level, msg }) => (level === 40 && msg.includes('uncached') ? [msg] : []));

  test('from the start: downloads pass through with a warning', async () => {
    const folder = await disk(16);
    await using proxy = await bed.start(folder);
    await fill(folder);
    for (const published of [large, small, large]) await bed.check(proxy, published);
    assert.ok(warnings(proxy).some((warning) => warning.includes(large.layer.digest)));
    assert.equal(await sizeOf(incomingPath(folder, large.layer)), undefined);
    await waitFor(async () => (await openFiles(proxy)) === 0, { what: 'all files to be closed' });
    livesWell(proxy);
    await rm(join(folder, 'ballast'));
    await bed.check(proxy, small);
    await isKept(folder, small.layer);
  });

  test('because it is smaller than the blob: that one passes through, others are kept', async () => {
    const folder = await disk(16);
    await using proxy = await bed.start(folder);
    await Promise.all([1, 2, 3].map(() => bed.check(proxy, large)));
    await bed.check(proxy, small);
    assert.ok(warnings(proxy).length > 0);
    await isKept(folder, small.layer);
    assert.equal(await sizeOf(incomingPath(folder, large.layer)), undefined);
    await onlyVerified(folder);
    await isQuiet(proxy);
  });

  test('in the middle of a fetch: those who read, fast and slow, get the rest past the cache', async () => {
    const folder = await disk(32);
    await using proxy = await bed.start(folder);
    const release = bed.holdFirst(large.layer, 6_000_000);
    const slow = bed.begin(proxy, large, 1);
    const fast = [bed.begin(proxy, large), bed.begin(proxy, large)];
    await waitFor(() => fast.every((client) => client.received() > 5_000_000));
    await fill(folder);
    release();
    for (const client of fast) isRight(await client.done, large);
    slow.resume();
    isRight(await slow.done, large);
    assert.ok(warnings(proxy).some((warning) => warning.includes(large.layer.digest)));
    assert.equal(await sizeOf(blobPath(folder, large.layer.digest)), undefined);
    await waitFor(async () => (await sizeOf(incomingPath(folder, large.layer))) === undefined);
    await isQuiet(proxy);
    await rm(join(folder, 'ballast'));
    await bed.check(proxy, large);
    await isKept(folder, large.layer);
    await onlyVerified(folder);
  });

  test('requests while it is full leave no lock files', async () => {
    const folder = await disk(16);
    await using proxy = await bed.start(folder);
    await fill(folder);
    await bed.check(proxy, small);
    await isQuiet(proxy);
  });

  test('requests while it is full leave no temporary files', async () => {
    const folder = await disk(16);
    await using proxy = await bed.start(folder);
    await bed.check(proxy, small);
    await fill(folder);
    for (let round = 0; round < 5; round++) await bed.check(proxy, small);
    const temporary = [...(await filesOf(folder)).keys()].filter((path) => /\.[0-9a-f-]{36}$/.test(path));
    assert.deepEqual(temporary, []);
  });

  test('that is mounted read-only: stored and other images can be downloaded', async () => {
    const folder = await disk(64);
    await using proxy = await bed.start(folder);
    await bed.check(proxy, small);
    // An incoming file that cannot be removed, and a blob that was not used for a while.
    bed.holdFirst(large.layer, 6_000_000);
    const leaving = bed.begin(proxy, large);
    await waitFor(() => leaving.received() > 1_000_000);
    leaving.leave();
    await isQuiet(proxy);
    for (const { digest } of small.layers) {
      const path = blobPath(folder, digest);
      await waitFor(async () => (await sizeOf(path)) !== undefined);
      await utimes(path, new Date(Date.now() - 60_000), (await stat(path)).mtime);
    }
    await runOrThrow('mount', ['-o', 'remount,ro', folder]);
    try {
      await bed.check(proxy, small);
      await bed.check(proxy, large);
      livesWell(proxy);
    } finally {
      await runOrThrow('mount', ['-o', 'remount,rw', folder]);
    }
  });
});

suite('the folder of the cache', { skip: parts }, () => {
  let bed: CacheBed;
  let images: PublishedImage[];

  before(async () => {
    bed = await startCacheBed();
    images = [];
    for (let at = 0; at < 6; at++) images.push(await bed.publish(`test/image-${at}`, [3_000_000, 1_000_000]));
  });
  after(() => bed[Symbol.asyncDispose]());

  const LIMIT = 10_000_000;
  const first = (): PublishedImage => images[0] as PublishedImage;
  /** As if the last request had been an hour ago. */
  const age = async (folder: string): Promise<void> => {
    const hourAgo = new Date(Date.now() - 3_600_000);
    for (const path of (await filesOf(folder)).keys()) {
      const file = join(folder, path);
      const status = await stat(file).catch(() => undefined);
      if (status && path.startsWith('blobs')) await utimes(file, hourAgo, status.mtime).catch(() => {});
    }
  };
  const bytesOf = async (folder: string): Promise<number> =>
    [...(await filesOf(folder)).values()].reduce((sum, size) => sum + size, 0);
  const has = async (folder: string, { layers }: PublishedImage): Promise<boolean> => {
    const sizes = await Promise.all(layers.map(({ digest }) => sizeOf(blobPath(folder, digest))));
    return sizes.every((size) => size !== undefined);
  };

  test('stays about within its limit while clients of all speeds read more than it holds', async () => {
    await using proxy = await bed.startAnew({ DOCKERPROXY_CACHE_SIZE: `${LIMIT}` });
    const { folder } = proxy;
    let most = 0;
    let isOver = false;
    const watching = waitFor(
      async () => {
        most = Math.max(most, await bytesOf(folder));
        return isOver;
      },
      { timeout: 60_000 },
    );
    for (let round = 0; round < 2; round++) {
      for (const published of images) {
        await age(folder);
        const slow = bed.begin(proxy, published, 1_000_000);
        const fast = [bed.begin(proxy, published), bed.begin(proxy, first())];
        for (const client of fast) await client.done;
        // The new image replaced an image without readers, and the one that was being read stayed.
        for (const read of [published, first()]) await waitFor(() => has(folder, read), { what: read.name });
        slow.resume();
        isRight(await slow.done, published);
        isRight(await (fast[0] ?? slow).done, published);
        isRight(await (fast[1] ?? slow).done, first());
      }
    }
    isOver = true;
    await watching;
    assert.ok(most <= LIMIT * 1.1, `${most} bytes at most`);
    assert.ok(most > LIMIT / 2, `${most} bytes at most`);
    const kept = await Promise.all(images.map((published) => has(folder, published)));
    assert.ok(kept.filter(Boolean).length <= 2, 'two images are all that it holds');
    await onlyVerified(folder);
    await isQuiet(proxy);
  });

  test('stays about within its limit when fetches begin together', async () => {
    for (let round = 0; round < 2; round++) {
      await using proxy = await bed.startAnew({ DOCKERPROXY_CACHE_SIZE: `${LIMIT}` });
      await Promise.all(images.map((published) => bed.check(proxy, published)));
      const all = await bytesOf(proxy.folder);
      assert.ok(all <= LIMIT * 1.1, `${all} bytes`);
    }
  });

  test('evicts images without recent requests, and keeps the others', async () => {
    await using proxy = await bed.startAnew({ DOCKERPROXY_CACHE_SIZE: `${LIMIT}` });
    const { folder } = proxy;
    const [a, b, c] = images as [PublishedImage, PublishedImage, PublishedImage];
    for (const published of [a, b]) await bed.check(proxy, published);
    await waitFor(async () => (await has(folder, a)) && (await has(folder, b)));
    await age(folder);
    await bed.check(proxy, a);
    await bed.check(proxy, c);
    await waitFor(() => has(folder, c));
    assert.deepEqual([await has(folder, a), await has(folder, b)], [true, false]);
    bed.reset();
    for (const published of [a, c]) await bed.check(proxy, published);
    assert.deepEqual(
      bed.upstream.requests.map(({ method }) => method),
      ['HEAD', 'HEAD'],
    );
  });

  test('keeps a blob for as long as it is read, however old', async () => {
    await using proxy = await bed.startAnew({ DOCKERPROXY_CACHE_SIZE: `${LIMIT}` });
    const large = await bed.publish('test/long', [9_000_000]);
    await bed.check(proxy, large);
    await isKept(proxy.folder, large.layer);
    const slow = bed.begin(proxy, large, 1);
    await waitFor(() => slow.received() > 0);
    for (const published of images.slice(0, 3)) {
      await age(proxy.folder);
      await bed.check(proxy, published);
    }
    assert.ok((await openFiles(proxy)) > 0, 'it is being read');
    assert.equal(await sizeOf(blobPath(proxy.folder, large.layer.digest)), large.layer.size);
    slow.resume();
    isRight(await slow.done, large);
  });

  test('is not made where the cache is turned off, and nothing is written anywhere', async () => {
    await using proxy = await bed.startAnew({ DOCKERPROXY_CACHE_SIZE: '0' });
    for (let round = 0; round < 2; round++) await bed.check(proxy, first());
    assert.equal(bed.gets(first().layer.digest).length, 2);
    await assert.rejects(readdir(proxy.folder), { code: 'ENOENT' });
    assert.deepEqual(await readdir(dirname(proxy.folder)), []);
  });

  test('may be deleted while the server runs: downloads stay right', async () => {
    await using proxy = await bed.startAnew();
    await bed.check(proxy, first());
    const slow = bed.begin(proxy, first(), 1);
    await waitFor(() => slow.received() > 0);
    await rm(proxy.folder, { recursive: true });
    slow.resume();
    isRight(await slow.done, first());
    for (const published of images) await bed.check(proxy, published);
    assert.ok(proxy.logs().some(({ level, msg }) => level === 40 && msg.includes('uncached')));
    livesWell(proxy);
  });

  test('may be replaced by a file while the server runs: downloads stay right', async () => {
    await using proxy = await bed.startAnew();
    await rm(proxy.folder, { recursive: true });
    await writeFile(proxy.folder, '');
    await bed.check(proxy, first());
    livesWell(proxy);
  });

  test('that is unusable is reported at startup', async () => {
    const folder = await bed.newFolder();
    await writeFile(folder, '');
    const started = bed.start(join(folder, 'cache'));
    await assert.rejects(started, /it ended with 78[\s\S]*The cache folder .* cannot be used/);
  });
});

function isNoSpace(error: NodeJS.ErrnoException): boolean {
  if (error.code !== 'ENOSPC') throw error;
  return true;
}

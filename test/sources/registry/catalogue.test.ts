import assert from 'node:assert/strict';
import { after, before, beforeEach, suite, test } from 'node:test';
import { parsePlatform } from '../../../src/oci/platform.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { createCachedInspector } from '../../../src/sources/cached-catalogue.ts';
import type { ImageDetails, ImageInspector } from '../../../src/sources/image-catalogue.ts';
import { createRegistryInspector } from '../../../src/sources/registry/catalogue.ts';
import { createRegistrySource } from '../../../src/sources/registry/source.ts';
import { createMemoryCaches } from '../../../src/util/memory-caches.ts';
import { createStack, type Stack } from '../../registry/stack.ts';
import { image, layer } from '../../support/images.ts';
import { skipUnless } from '../../support/packages.ts';
import { push } from '../../support/push.ts';
import { type Registry, startRegistry } from '../../support/registry.ts';
import { type StandardImages, standardImages } from '../../support/standard-images.ts';

const never = new AbortController().signal;
const defaultPlatform = parsePlatform('linux/amd64');

suite('the description of an image from a real registry', {
  skip: skipUnless('docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  let registry: Registry;
  let stack: Stack;
  let images: StandardImages;
  let catalogue: ImageInspector;

  before(async () => {
    registry = await startRegistry();
    images = await standardImages(registry);
    stack = createStack({ hosts: [registry.host] });
    catalogue = createRegistryInspector({ ...stack, defaultPlatform, maxSize: 1e9 });
  });
  after(async () => {
    await stack.http.close();
    await registry[Symbol.asyncDispose]();
  });
  beforeEach(() => registry.reset());

  const request = (name: string, platform?: string) => ({
    reference: parseReference(`${registry.host}/${name}`),
    platform: platform === undefined ? undefined : parsePlatform(platform),
    format: 'docker' as const,
  });
  const describe = (name: string, platform?: string): Promise<ImageDetails> =>
    catalogue.describe(request(name, platform), never);

  for (const [name, platform] of [
    ['library/busybox', undefined],
    ['library/busybox', 'linux/arm64'],
    ['library/busybox:1.35', undefined],
    ['test/zstd', undefined],
    ['test/nested', 'linux/arm64'],
  ] as const) {
    test(`${name} for ${platform ?? 'the default'} is described as it would be downloaded`, async () => {
      const source = createRegistrySource({ ...stack, defaultPlatform, maxSize: 1e9, now: Date.now });
      const archive = await source.open(
        { ...request(name, platform), references: [request(name).reference] },
        never,
      );
      const details = await describe(name, platform);
      const { size, etag, filename, zstd } = archive;
      assert.deepEqual({ ...details, size, etag, filename, zstd }, details);
      assert.equal(details.digest, archive.digests[0]);
      assert.equal(details.platform, platform ?? 'linux/amd64');
      assert.deepEqual(details.config.command, ['sh']);
      assert.deepEqual(details.created, new Date('2026-01-01T00:00:00Z'));
    });
  }

  test('the platforms are those of the index, without attestations', async () => {
    const { platforms, indexDigest, digest } = await describe('library/busybox');
    assert.deepEqual(platforms, ['linux/amd64', 'linux/arm64']);
    assert.equal(indexDigest, images.busybox.descriptor.digest);
    assert.equal(digest, images.busyboxAmd64.descriptor.digest);
  });

  test('a single manifest is for what its config says, asked for by tag or by digest', async () => {
    for (const name of ['library/busybox:1.35', `test/arm-only@${images.armOnly.descriptor.digest}`]) {
      const { platform, platforms, indexDigest } = await describe(name);
      assert.deepEqual(platforms, [platform]);
      assert.equal(indexDigest, undefined);
    }
    assert.equal(
      (await describe(`test/arm-only@${images.armOnly.descriptor.digest}`)).platform,
      'linux/arm64',
    );
  });

  test('no layer is fetched for it', async () => {
    await describe('library/busybox');
    const layers = new Set(images.busyboxAmd64.layers.map(({ descriptor }) => descriptor.digest));
    const paths = (await registry.requests()).map(({ path }) => path);
    assert.ok(paths.length > 0);
    assert.deepEqual(
      paths.filter((path) => layers.has(path.split('/').at(-1) ?? '')),
      [],
    );
  });

  test('the values of a config are kept as far as they are valid', async () => {
    const base = await layer({ files: { a: 'a' } });
    const config = {
      Entrypoint: ['/app', '--x'],
      Cmd: 'sh',
      User: 7,
      WorkingDir: '',
      ExposedPorts: { '80/tcp': {} },
    };
    const platform = { os: 'linux', architecture: 'amd64' };
    await push(registry.url, 'test/config', 'latest', image({ platform, layers: [base], config }));
    assert.deepEqual((await describe('test/config')).config, {
      ...{ entrypoint: ['/app', '--x'], command: undefined, workingDir: undefined, user: undefined },
      exposedPorts: ['80/tcp'],
      truncated: false,
    });
  });

  test('configs of megabytes are remembered in a few bytes, under however many tags', async () => {
    const caches = createMemoryCaches(() => 0);
    const brief = createCachedInspector({ catalogue, now: () => 0, caches });
    const config = { Cmd: ['x'.repeat(3 * 2 ** 20)] };
    const platform = { os: 'linux', architecture: 'amd64' };
    const layers = [await layer({ files: { a: 'a' } })];
    const digest = await push(registry.url, 'test/long', 'latest', image({ platform, layers, config }));
    for (let at = 0; at < 20; at++) {
      const details = await brief.describe(request(`test/long:v${at}@${digest}`), never);
      assert.equal(details.config.truncated, true);
    }
    const use = caches.uses().find(({ name }) => name === 'image-details');
    assert.ok(use !== undefined && use.bytes > 0 && use.bytes < 20 * 16 * 1024, `${use?.bytes} bytes`);
  });

  test('errors are those of a download', async () => {
    await assert.rejects(describe('library/busybox', 'linux/s390x'), { code: 'platform-not-found' });
    await assert.rejects(describe('test/helm'), { code: 'not-an-image' });
    await assert.rejects(describe('test/nothing'), { code: 'image-not-found' });
    const small = createRegistryInspector({ ...stack, defaultPlatform, maxSize: 1000 });
    await assert.rejects(small.describe(request('library/busybox'), never), { code: 'image-too-large' });
  });

  test('tags come in the order in which people look for them', async () => {
    for (const tag of ['1.9', '1.10', '1.10-rc1'])
      await push(registry.url, 'test/order', tag, images.busybox135);
    const { tags } = await catalogue.tags(parseReference(`${registry.host}/test/order`), never);
    assert.deepEqual(tags, ['1.10', '1.10-rc1', '1.9']);
  });

  test('the same question within half a minute is asked once', async () => {
    let now = 1000;
    const brief = createCachedInspector({ catalogue, now: () => now });
    const ask = async (): Promise<void> => {
      await Promise.all([1, 2].map(() => brief.describe(request('library/busybox'), never)));
      await brief.tags(parseReference(`${registry.host}/library/busybox`), never);
    };
    await ask();
    const first = (await registry.requests()).length;
    await ask();
    assert.equal((await registry.requests()).length, first);
    now += 40_000;
    await ask();
    assert.equal((await registry.requests()).length, 2 * first);
  });

  test('a failure is not remembered, and another platform or format is another question', async () => {
    const asked: string[] = [];
    const brief = createCachedInspector({
      catalogue: {
        ...catalogue,
        describe: async ({ format, platform }) => {
          asked.push(`${format} ${platform?.architecture}`);
          throw new Error('No.');
        },
      },
      now: () => 0,
    });
    const busybox = request('library/busybox');
    for (const one of [
      busybox,
      busybox,
      { ...busybox, format: 'oci' as const },
      request('library/busybox', 'linux/arm64'),
    ]) {
      await assert.rejects(brief.describe(one, never));
    }
    assert.deepEqual(asked, ['docker undefined', 'docker undefined', 'oci undefined', 'docker arm64']);
  });
});

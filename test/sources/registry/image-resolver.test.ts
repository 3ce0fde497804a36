import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type ArchiveFormat, FORMATS } from '../../../src/archive/format.ts';
import { parsePlatform } from '../../../src/oci/platform.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { type ResolvedImage, resolveImage } from '../../../src/sources/registry/image-resolver.ts';
import { useHostileRegistry } from '../../registry/hostile-stack.ts';
import type { Handler } from '../../support/hostile-registry.ts';
import { type Blob, blob, type Descriptor, type Manifest, manifest, sha256 } from '../../support/images.ts';

const never = new AbortController().signal;
const INDEX = 'application/vnd.oci.image.index.v1+json';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const AMD64 = { os: 'linux', architecture: 'amd64' };

suite('the image that a reference names', { timeout: 600_000 }, () => {
  const { registry, stack } = useHostileRegistry();
  let count = 0;

  /** Serves a manifest for the tag, and all below it by digest. */
  function serve(root: Manifest): string {
    const repository = `made/${count++}`;
    const all = new Map<string, { type: string; bytes: Uint8Array }>();
    const add = ({ descriptor, bytes, blobs, children }: Manifest): void => {
      all.set(descriptor.digest, { type: descriptor.mediaType, bytes });
      for (const { descriptor: own, content } of blobs)
        all.set(own.digest, { type: 'application/octet-stream', bytes: content as Uint8Array });
      children.forEach(add);
    };
    add(root);
    const handler: Handler = (request, response) => {
      const asked = request.url?.split('/').at(-1) ?? '';
      const found = all.get(asked === 'latest' ? root.descriptor.digest : asked);
      if (found === undefined) return void response.writeHead(404).end();
      response.writeHead(200, { 'content-type': found.type, 'content-length': found.bytes.length });
      response.end(found.bytes);
    };
    registry().misbehave(repository, { manifest: handler, blob: handler });
    return repository;
  }

  interface Made {
    name?: string;
    zstd?: boolean;
    platform?: object | undefined;
    words?: object;
    annotations?: Record<string, string>;
  }

  /** An image whose config states `words`, and whose entry in an index states `platform`. */
  function made({
    name = 'a',
    zstd = false,
    platform = AMD64,
    words = AMD64,
    annotations,
  }: Made = {}): Manifest {
    const layer = blob(
      `application/vnd.oci.image.layer.v1.tar+${zstd ? 'zstd' : 'gzip'}`,
      Buffer.from(`${name} ${zstd}`),
    );
    const rootfs = { type: 'layers', diff_ids: [sha256(Buffer.from(name))] };
    const config = blob(
      'application/vnd.oci.image.config.v1+json',
      Buffer.from(JSON.stringify({ ...words, name, rootfs })),
    );
    const body = {
      schemaVersion: 2,
      mediaType: IMAGE,
      config: config.descriptor,
      layers: [layer.descriptor],
    };
    const blobs: Blob[] = [config, layer];
    const one = manifest(IMAGE, body, blobs, []);
    const descriptor = { ...one.descriptor, platform, ...(annotations && { annotations }) } as Descriptor;
    return { ...one, descriptor };
  }

  const indexOf = (...children: Manifest[]): Manifest =>
    manifest(
      INDEX,
      { schemaVersion: 2, mediaType: INDEX, manifests: children.map(({ descriptor }) => descriptor) },
      [],
      children,
    );
  const bare = (one: Manifest): Manifest => {
    const { platform: _, ...descriptor } = one.descriptor;
    return { ...one, descriptor };
  };
  const resolve = (
    root: Manifest,
    { format = 'docker', platform }: { format?: ArchiveFormat; platform?: string } = {},
  ): Promise<ResolvedImage> =>
    resolveImage(
      stack().client,
      parseReference(`${registry().host}/${serve(root)}`),
      {
        platform: platform === undefined ? undefined : parsePlatform(platform),
        defaultPlatform: parsePlatform('linux/amd64'),
        prefersGzip: FORMATS[format].prefersGzip,
      },
      never,
    );

  suite('with a platform that is stated in part', () => {
    for (const words of [
      {},
      { os: '', architecture: '' },
      { os: 'linux' },
      { os: null, architecture: 'amd64' },
    ]) {
      test(`${JSON.stringify(words)} in its config fits`, async () => {
        for (const root of [made({ words }), indexOf(bare(made({ words })))]) {
          const { manifest: found } = await resolve(root);
          assert.ok([root, ...root.children].some(({ descriptor }) => descriptor.digest === found.digest));
        }
      });
    }

    test('without fields matches any platform, with one field those that have it', async () => {
      const found = await resolve(made({ words: {} }), { platform: 'windows/arm64' });
      assert.deepEqual(found.platform, { os: undefined, architecture: undefined, variant: undefined });
      await resolve(made({ words: { architecture: 'arm64' } }), { platform: 'linux/arm64' });
      await assert.rejects(resolve(made({ words: { architecture: 'arm64' } })), {
        code: 'platform-not-found',
        message: /Available platforms: linux\/arm64\.$/,
      });
    });

    test('in an index is completed by its config', async () => {
      const arm64 = made({ name: 'arm64', platform: { architecture: 'arm64' }, words: { os: 'linux' } });
      const amd64 = made({ name: 'amd64', platform: { os: 'linux' }, words: AMD64 });
      const root = indexOf(arm64, amd64);
      assert.equal((await resolve(root)).manifest.digest, amd64.descriptor.digest);
      const { manifest: found } = await resolve(root, { platform: 'linux/arm64' });
      assert.equal(found.digest, arm64.descriptor.digest);
      await assert.rejects(resolve(root, { platform: 'linux/s390x' }), { code: 'platform-not-found' });
    });

    test('in a config is completed by its index', async () => {
      const { platform } = await resolve(indexOf(made({ words: {} })));
      assert.deepEqual(platform, { os: 'linux', architecture: 'amd64', variant: undefined });
    });
  });

  test('has as many layers as its config, however it was found', async () => {
    const config = blob(
      'application/vnd.oci.image.config.v1+json',
      Buffer.from('{"rootfs":{"diff_ids":[]}}'),
    );
    const [, ...layers] = made().blobs.map(({ descriptor }) => descriptor);
    const body = { schemaVersion: 2, mediaType: IMAGE, config: config.descriptor, layers };
    const one = manifest(IMAGE, body, [config], []);
    const odd = { ...one, descriptor: { ...one.descriptor, platform: AMD64 } };
    for (const root of [odd, indexOf(odd)]) {
      await assert.rejects(resolve(root), { code: 'not-an-image', message: /list different layers/ });
    }
  });

  suite('offered with gzip and with zstd', () => {
    const gzip = made({ name: 'same' });
    const zstd = made({ name: 'same', zstd: true });
    const marked = made({
      name: 'same',
      zstd: true,
      annotations: { 'io.github.containers.compression.zstd': 'true' },
    });
    const digestOf = async (root: Manifest, format?: ArchiveFormat): Promise<string> =>
      (await resolve(root, format && { format })).manifest.digest;

    for (const [title, root] of [
      ['in an index', indexOf(zstd, gzip)],
      ['where the index says so', indexOf(marked, gzip)],
      ['gzip first', indexOf(gzip, zstd)],
      ['without their platforms', indexOf(bare(zstd), bare(gzip))],
      ['in indexes in an index', indexOf(indexOf(zstd), indexOf(gzip))],
      ['more than twice', indexOf(zstd, made({ name: 'b', zstd: true }), gzip)],
    ] as const) {
      test(`${title}, is the one with gzip for Docker's format`, async () => {
        assert.equal(await digestOf(root), gzip.descriptor.digest);
      });
    }

    test('is the first one for an OCI layout', async () => {
      assert.equal(await digestOf(indexOf(zstd, gzip), 'oci'), zstd.descriptor.digest);
      assert.equal(await digestOf(indexOf(marked, gzip), 'oci'), marked.descriptor.digest);
      assert.equal(await digestOf(indexOf(gzip, zstd), 'oci'), gzip.descriptor.digest);
    });

    test('reads no further manifest if the first one fits', async () => {
      for (const root of [indexOf(gzip, zstd), indexOf(marked, gzip)]) {
        const { reference } = await resolve(root);
        assert.equal(registry().requests(reference.path).length, 3, 'an index, a manifest, a config');
      }
    });

    test('with zstd alone is the first one', async () => {
      const other = made({ name: 'other', zstd: true });
      assert.equal(await digestOf(indexOf(zstd, other)), zstd.descriptor.digest);
      assert.equal(
        await digestOf(
          indexOf(zstd, made({ name: 'arm', platform: { os: 'linux', architecture: 'arm64' } })),
        ),
        zstd.descriptor.digest,
      );
    });

    test('is the existing one if the other is missing', async () => {
      const lost = indexOf(zstd, gzip);
      assert.equal(await digestOf({ ...lost, children: [zstd] }), zstd.descriptor.digest);
    });

    test('is searched for in only a few manifests', async () => {
      const many = Array.from({ length: 40 }, (_, at) => made({ name: `${at}`, zstd: true }));
      for (const root of [
        indexOf(...many, gzip),
        indexOf(...many.map((one) => indexOf(one)), indexOf(gzip)),
      ]) {
        const { manifest: found, reference } = await resolve(root);
        assert.equal(found.digest, many[0]?.descriptor.digest);
        const manifests = registry()
          .requests(reference.path)
          .filter(({ url }) => url?.includes('/manifests/'));
        assert.ok(manifests.length <= 7, `${manifests.length} manifests`);
      }
    });
  });
});

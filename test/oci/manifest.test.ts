import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { suite, test } from 'node:test';
import {
  filterIndex,
  MEDIA_TYPES,
  parseImageConfig,
  parseManifest,
  parseManifestLinks,
} from '../../src/oci/manifest.ts';
import { heapBytes } from '../../src/util/memory-caches.ts';

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;
const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digest('1'), size: 100 };
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digest('2'), size: 2000 };
const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: [layer] };

suite('manifests', () => {
  test('an OCI manifest, a Docker manifest and one without mediaType are images', () => {
    assert.deepEqual(parseManifest(encode(manifest), undefined), {
      kind: 'image',
      mediaType: MEDIA_TYPES.ociManifest,
      config,
      layers: [layer],
    });
    const docker = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.dockerManifest,
      config: { ...config, mediaType: 'application/vnd.docker.container.image.v1+json' },
      layers: [{ ...layer, mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip' }],
    };
    assert.equal(parseManifest(encode(docker), 'application/json').kind, 'image');
    const bare = { schemaVersion: 2, config, layers: [layer] };
    assert.equal(
      parseManifest(encode(bare), `${MEDIA_TYPES.ociManifest}; charset=utf-8`).mediaType,
      MEDIA_TYPES.ociManifest,
    );
    assert.equal(parseManifest(encode(bare), undefined).mediaType, MEDIA_TYPES.ociManifest);
  });

  test('an index leaves attestations out', () => {
    const entry = { mediaType: MEDIA_TYPES.ociManifest, digest: digest('3'), size: 500 };
    const index = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociIndex,
      manifests: [
        { ...entry, platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
        { ...entry, platform: { os: 'unknown', architecture: 'unknown' } },
        { ...entry, annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } },
      ],
    };
    const parsed = parseManifest(encode(index), undefined);
    assert.ok(parsed.kind === 'index');
    assert.deepEqual(parsed.manifests, [index.manifests[0]]);
  });

  test('artifacts are not images', () => {
    const helm = {
      ...manifest,
      config: { ...config, mediaType: 'application/vnd.cncf.helm.config.v1+json' },
    };
    assert.throws(() => parseManifest(encode(helm), undefined), { code: 'not-an-image', message: /helm/ });
    const cosign = {
      ...manifest,
      layers: [{ ...layer, mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json' }],
    };
    assert.throws(() => parseManifest(encode(cosign), undefined), {
      code: 'not-an-image',
      message: /cosign/,
    });
  });

  for (const mediaType of [
    'application/octet-stream',
    'application/json',
    'text/html',
    'text/html; charset=utf-8',
    '',
    undefined,
    null,
    'application/vnd.docker.container.image.v1',
    'application/vnd.docker.image.config.v1+json',
    'application/vnd.docker.container.image.rootfs.config+json',
    'application/vnd.oci.image.config.v2+json',
    'application/vnd.oci.image.serialization.config.v1+json',
  ]) {
    test(`a config of type ${JSON.stringify(mediaType)} is of an image, as Docker has it`, () => {
      for (const type of [MEDIA_TYPES.ociManifest, MEDIA_TYPES.dockerManifest]) {
        const body = { ...manifest, mediaType: type, config: { ...config, mediaType } };
        assert.equal(parseManifest(encode(body), undefined).kind, 'image');
      }
    });
  }

  for (const mediaType of ['application/octet-stream', 'application/x-gzip', '', undefined]) {
    test(`a layer of type ${JSON.stringify(mediaType)} is a layer`, () => {
      const body = { ...manifest, layers: [{ ...layer, mediaType }] };
      assert.equal(parseManifest(encode(body), undefined).kind, 'image');
    });
  }

  for (const [mediaType, artifactType] of [
    ['application/vnd.docker.plugin.v1+json'],
    ['application/vnd.oci.empty.v1+json', 'application/vnd.example.sbom'],
    ['application/vnd.dockerish.config+json'],
    ['text/plain'],
    ['application/json', 'application/vnd.example.sbom'],
  ]) {
    test(`a config of type ${mediaType} is of no image${artifactType ? ', where the artifact has a type' : ''}`, () => {
      const body = { ...manifest, artifactType, config: { ...config, mediaType } };
      assert.throws(() => parseManifest(encode(body), undefined), { code: 'not-an-image' });
    });
  }

  test('bytes that are not UTF-8 are replaced', () => {
    const bytes = Buffer.from(encode({ ...manifest, annotations: { title: '@@' } }));
    bytes.write('\xff\xfe', bytes.indexOf('@@'), 'latin1');
    assert.deepEqual(parseManifest(bytes, undefined), parseManifest(encode(manifest), undefined));
    const old = Buffer.from('{"os":"linux","rootfs":{"diff_ids":["a"]},"author":"Jos\xe9"}', 'latin1');
    assert.deepEqual(parseImageConfig(old).diffIds, ['a']);
  });

  test('Docker schema 1 is too old', () => {
    const type = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
    assert.throws(() => parseManifest(encode({ schemaVersion: 1, fsLayers: [] }), type), {
      code: 'manifest-outdated',
    });
    assert.throws(() => parseManifest(encode({ schemaVersion: 1 }), 'application/json'), {
      code: 'manifest-outdated',
    });
  });

  for (const [what, body] of Object.entries({
    'a list': [],
    'no layers': { ...manifest, layers: undefined },
    'a negative size': { ...manifest, layers: [{ ...layer, size: -1 }] },
    'a fractional size': { ...manifest, layers: [{ ...layer, size: 0.5 }] },
    'an unsafe size': { ...manifest, layers: [{ ...layer, size: 2 ** 60 }] },
    'a layer of size 0 that is not empty': { ...manifest, layers: [{ ...layer, size: 0 }] },
    'a config of size 0 that is not empty': { ...manifest, config: { ...config, size: 0 } },
    'a size in quotes': { ...manifest, layers: [{ ...layer, size: '10' }] },
    'a digest with a path in it': { ...manifest, layers: [{ ...layer, digest: 'sha256:../../etc' }] },
    'a media type that is a number': { ...manifest, layers: [{ ...layer, mediaType: 7 }] },
    'an alien media type': { ...manifest, mediaType: 'text/plain' },
  })) {
    test(`${what} is the registry's mistake`, () => {
      assert.throws(() => parseManifest(encode(body), undefined), { code: 'registry-failed', status: 502 });
    });
  }

  test('content that could be both an index and a manifest is refused (CVE-2021-41190)', () => {
    const manifests = [{ mediaType: MEDIA_TYPES.ociManifest, digest: digest('3'), size: 500 }];
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests };
    const { mediaType: _, ...bare } = manifest;
    const bodies: [body: object, contentType?: string][] = [
      [{ ...manifest, manifests }],
      [{ ...manifest, manifests: [] }],
      [{ ...index, layers: [layer] }],
      [{ ...index, config }],
      [{ ...bare, manifests }, MEDIA_TYPES.ociManifest],
      [{ ...bare, manifests }, 'application/json'],
      [bare, MEDIA_TYPES.ociIndex],
      [{ schemaVersion: 2, manifests }, MEDIA_TYPES.dockerManifest],
      [{ ...manifest, mediaType: MEDIA_TYPES.dockerIndex }],
      [{ ...index, mediaType: MEDIA_TYPES.dockerManifest }],
      [manifest, MEDIA_TYPES.ociIndex],
      [manifest, `${MEDIA_TYPES.dockerIndex}; charset=utf-8`],
      [index, MEDIA_TYPES.ociManifest],
    ];
    for (const [body, contentType] of bodies) {
      for (const parse of [parseManifest, parseManifestLinks]) {
        assert.throws(
          () => parse(encode(body), contentType),
          { code: 'registry-failed' },
          JSON.stringify([body, contentType]),
        );
      }
    }
    // Neither empty members nor another name for the same type contradict the type.
    const empty = { ...index, config: null, layers: null };
    assert.equal(parseManifest(encode(empty), undefined).kind, 'index');
    assert.equal(parseManifest(encode(manifest), MEDIA_TYPES.dockerManifest).kind, 'image');
  });

  test('an empty layer may have the size 0', () => {
    const empty = { ...layer, digest: `sha256:${createHash('sha256').digest('hex')}`, size: 0 };
    const parsed = parseManifest(encode({ ...manifest, layers: [empty] }), undefined);
    assert.deepEqual(parsed.kind === 'image' && parsed.layers, [empty]);
  });

  test('a null list has no entries, as in Go', () => {
    const scratch = parseManifest(encode({ ...manifest, layers: null }), undefined);
    assert.deepEqual(scratch.kind === 'image' && scratch.layers, []);
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: null };
    for (const parse of [parseManifest, parseManifestLinks]) {
      const parsed = parse(encode(index), undefined);
      assert.deepEqual(parsed.kind === 'index' && parsed.manifests, []);
    }
  });

  for (const size of [undefined, null, -1, 0, 1, 2 ** 63, '500']) {
    test(`an index entry may state ${JSON.stringify(size)} as its size, which nothing reads`, () => {
      const entry = { mediaType: MEDIA_TYPES.ociManifest, digest: digest('3'), size };
      const index = encode({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [entry] });
      for (const parse of [parseManifest, parseManifestLinks]) {
        const parsed = parse(index, undefined);
        assert.equal(parsed.kind === 'index' && parsed.manifests[0]?.digest, entry.digest);
      }
      assert.deepEqual(filterIndex(index, new Set([entry.digest])), index);
    });
  }

  test('an index of more images than any has is the registry’s mistake', () => {
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex };
    const entry = { ...layer, mediaType: MEDIA_TYPES.ociManifest };
    const largest = parseManifest(encode({ ...index, manifests: Array(1000).fill(entry) }), undefined);
    assert.equal(largest.kind === 'index' && largest.manifests.length, 1000);
    assert.throws(() => parseManifest(encode({ ...index, manifests: Array(1001).fill(entry) }), undefined), {
      code: 'registry-failed',
    });
  });

  test('an image of more layers than any engine loads is not put into an archive', () => {
    const largest = parseManifest(encode({ ...manifest, layers: Array(1000).fill(layer) }), undefined);
    assert.equal(largest.kind === 'image' && largest.layers.length, 1000);
    assert.throws(
      () => parseManifest(encode({ ...manifest, layers: Array(10_000).fill(layer) }), undefined),
      {
        code: 'too-many-layers',
        message: /10000 layers/,
      },
    );
  });

  test('a limited number of a layer’s URLs count, so that no server is flooded with requests', () => {
    const urls = Array.from({ length: 1000 }, (_, at) => `https://victim.test/${at}`);
    const parsed = parseManifest(encode({ ...manifest, layers: [{ ...layer, urls }] }), undefined);
    assert.deepEqual(parsed.kind === 'image' && parsed.layers[0]?.urls, urls.slice(0, 3));
  });

  for (const os of ['\u001b[31mlinux', 'linux\n[OK] busybox', '<script>', 'x'.repeat(65)]) {
    test(`a platform with an invalid value, ${JSON.stringify(os.slice(0, 20))}, counts as not stated`, () => {
      const entry = { ...layer, mediaType: MEDIA_TYPES.ociManifest, platform: { os, architecture: 'amd64' } };
      const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [entry] };
      const parsed = parseManifest(encode(index), undefined);
      assert.equal(parsed.kind === 'index' && parsed.manifests[0]?.platform, undefined);
    });
  }

  test("invalid JSON is the registry's mistake", () => {
    assert.throws(() => parseManifest(new Uint8Array([0xff, 0xfe]), undefined), { code: 'registry-failed' });
  });

  test('a config tells its platform and how many layers belong to it', () => {
    const body = {
      os: 'linux',
      architecture: 'arm64',
      variant: 'v8',
      rootfs: { type: 'layers', diff_ids: ['a', 'b'] },
    };
    const { platform, diffIds } = parseImageConfig(encode(body));
    assert.deepEqual(platform, { os: 'linux', architecture: 'arm64', variant: 'v8' });
    assert.deepEqual(diffIds, ['a', 'b']);
    assert.throws(() => parseImageConfig(encode({})), { code: 'not-an-image' });
  });

  test('a config may lack its platform, and its list of layers if it has no layers', () => {
    for (const [words, platform] of [
      [{}, {}],
      [{ os: '', architecture: '' }, {}],
      [{ os: null, architecture: 'arm64' }, { architecture: 'arm64' }],
      [{ os: 'windows' }, { os: 'windows' }],
    ]) {
      const body = { ...words, rootfs: { type: 'layers' } };
      const config = parseImageConfig(encode(body));
      assert.deepEqual([config.platform, config.diffIds], [platform, []]);
    }
    for (const os of [7, 'lin ux', ['linux']]) {
      assert.throws(() => parseImageConfig(encode({ os, rootfs: {} })), { code: 'not-an-image' });
    }
  });

  test('a parsed document is small, regardless of its longest texts', () => {
    const long = 'x'.repeat(2 ** 20);
    const layers = Array.from({ length: 3 }, () => ({
      ...{ ...layer, urls: [long, 'https://blobs.test/a'], annotations: { [long]: long, title: long } },
      artifactType: long,
    }));
    const body = { ...manifest, layers, [long]: long };
    for (const parse of [parseManifest, parseManifestLinks]) {
      const parsed = parse(encode(body), undefined);
      assert.ok(parsed.kind !== 'index');
      assert.deepEqual(parsed.layers[0]?.urls, ['https://blobs.test/a']);
      assert.ok(heapBytes(parsed) < 4096, `${heapBytes(parsed)} bytes`);
    }
    const wide = { ...manifest, config: { ...config, mediaType: long } };
    assert.throws(() => parseManifest(encode(wide), undefined), { code: 'registry-failed' });
    const ids = parseImageConfig(encode({ rootfs: { diff_ids: ['a', long, [long], { long }] } })).diffIds;
    assert.deepEqual(ids, ['a', undefined, undefined, undefined]);
    const many = { rootfs: { diff_ids: Array(1001).fill('a') } };
    assert.throws(() => parseImageConfig(encode(many)), { code: 'not-an-image' });
  });
});

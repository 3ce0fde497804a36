import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { archiveFilename, type NamedArchive } from '../../src/archive/archive-name.ts';
import type { ArchiveImage } from '../../src/archive/entries.ts';
import { FORMATS } from '../../src/archive/format.ts';
import type { Entry } from '../../src/archive/layout.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { parsePlatform } from '../../src/oci/platform.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { MemoryBlobs, sampleImage } from './samples.ts';

const blobs = new MemoryBlobs();
const base = blobs.add(Buffer.from('base'));
const top = blobs.add(Buffer.from('top'));

function dockerImage(name: string, layers: readonly Descriptor[]): ArchiveImage {
  return sampleImage(name, blobs, layers, MEDIA_TYPES.dockerManifest);
}

function parse(entries: readonly Entry[], path: string): unknown {
  const content = entries.find((entry) => entry.path === path)?.content;
  assert.ok(content instanceof Uint8Array);
  return JSON.parse(Buffer.from(content).toString());
}

suite('the entries of an archive', () => {
  test('metadata comes first, then manifest, config and layers', () => {
    const image = sampleImage('busybox:1.36', blobs, [base, top]);
    const entries = FORMATS.docker.entries([image]);
    const blob = (digest: string): string => `blobs/${digest.replace(':', '/')}`;
    assert.deepEqual(
      entries.map(({ path }) => path),
      [
        'oci-layout',
        'index.json',
        'manifest.json',
        ...[image.manifest, image.config, base, top].map((d) => blob(d.digest)),
      ],
    );
    assert.deepEqual(parse(entries, 'manifest.json'), [
      {
        Config: blob(image.config.digest),
        RepoTags: ['docker.io/library/busybox:1.36'],
        Layers: [blob(base.digest), blob(top.digest)],
      },
    ]);
    assert.deepEqual(parse(entries, 'index.json'), {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        {
          ...image.manifest,
          platform: { architecture: 'amd64', os: 'linux' },
          annotations: {
            'io.containerd.image.name': 'docker.io/library/busybox:1.36',
            'org.opencontainers.image.ref.name': '1.36',
          },
        },
      ],
    });
  });

  test('the oci format has no manifest.json', () => {
    const entries = FORMATS.oci.entries([sampleImage('busybox', blobs, [base])]);
    assert.deepEqual(
      entries.map(({ path }) => path.split('/')[0]),
      ['oci-layout', 'index.json', 'blobs', 'blobs', 'blobs'],
    );
  });

  test('a blob that images or layers share occurs once', () => {
    const images = [sampleImage('a', blobs, [base, top, base]), sampleImage('b', blobs, [base])];
    const paths = FORMATS.docker.entries(images).map(({ path }) => path);
    assert.equal(new Set(paths).size, paths.length);
    const docker = parse(FORMATS.docker.entries(images), 'manifest.json') as { Layers: string[] }[];
    assert.deepEqual(
      docker.map(({ Layers }) => Layers.length),
      [3, 1],
    );
  });

  test('an image requested by digest alone has its digest as its name in the index, and no RepoTags', () => {
    const image = sampleImage(`busybox@sha256:${'a'.repeat(64)}`, blobs, [base]);
    const docker = FORMATS.docker.entries([image]);
    assert.deepEqual((parse(docker, 'manifest.json') as { RepoTags: unknown }[])[0]?.RepoTags, null);
    for (const entries of [docker, FORMATS.oci.entries([image])]) {
      const { manifests } = parse(entries, 'index.json') as { manifests: { annotations: unknown }[] };
      assert.deepEqual(
        manifests.map(({ annotations }) => annotations),
        [{ 'io.containerd.image.name': `docker.io/library/busybox@${image.manifest.digest}` }],
      );
    }
  });

  test('a Docker schema 2 image is listed as its OCI equivalent in the docker format, under its tag', () => {
    const image = dockerImage('busybox:1', [base, top]);
    const entries = FORMATS.docker.entries([image]);
    const [listed] = (parse(entries, 'index.json') as { manifests: Descriptor[] }).manifests;
    assert.equal(listed?.mediaType, MEDIA_TYPES.ociManifest);
    const path = `blobs/${listed.digest.replace(':', '/')}`;
    const manifest = parse(entries, path) as { config: Descriptor; layers: Descriptor[] };
    assert.deepEqual(
      [manifest.config, ...manifest.layers].map(({ digest }) => digest),
      [image.config, base, top].map(({ digest }) => digest),
    );
    assert.equal(entries.filter((entry) => entry.content instanceof Uint8Array).length, 4, 'one manifest');
    const [docker] = parse(entries, 'manifest.json') as { Config: string }[];
    assert.equal(docker?.Config, `blobs/${image.config.digest.replace(':', '/')}`, 'the image ID stays');
    assert.deepEqual(FORMATS.docker.entries([dockerImage('busybox:1', [base, top])]), entries);
  });

  test('a Docker schema 2 image keeps its manifest in the oci format, and if requested by digest', () => {
    for (const [name, format] of [
      ['busybox:1', 'oci'],
      [`busybox@sha256:${'a'.repeat(64)}`, 'docker'],
    ] as const) {
      const { manifest, manifestBytes, ...image } = dockerImage(name, [base]);
      const entries = FORMATS[format].entries([{ ...image, manifest, manifestBytes }]);
      const [listed] = (parse(entries, 'index.json') as { manifests: Descriptor[] }).manifests;
      assert.deepEqual([listed?.mediaType, listed?.digest], [MEDIA_TYPES.dockerManifest, manifest.digest]);
      const stored = entries.find(({ path }) => path === `blobs/${manifest.digest.replace(':', '/')}`);
      assert.deepEqual(stored?.content, manifestBytes);
    }
  });

  test('an image is listed with the platform that its config states', () => {
    const windows = { os: 'windows', architecture: 'amd64', osVersion: '10.0.17763.5696' };
    for (const [configPlatform, listed] of [
      [
        { os: 'linux', architecture: 'arm', variant: 'v7' },
        { os: 'linux', architecture: 'arm', variant: 'v7' },
      ],
      [windows, { os: 'windows', architecture: 'amd64', 'os.version': '10.0.17763.5696' }],
      [{ os: 'linux' }, undefined],
      [{}, undefined],
    ] as const) {
      const image = { ...sampleImage('busybox', blobs, [base]), configPlatform };
      for (const format of ['docker', 'oci'] as const) {
        const { manifests } = parse(FORMATS[format].entries([image]), 'index.json') as {
          manifests: { platform: unknown }[];
        };
        assert.deepEqual(manifests[0]?.platform, listed);
      }
    }
  });

  test('an image by tag and digest is, byte for byte, that of the tag', () => {
    const tagged = sampleImage('busybox:1', blobs, [base]);
    const pinned = { ...tagged, reference: parseReference(`busybox:1@sha256:${'a'.repeat(64)}`) };
    assert.deepEqual(FORMATS.docker.entries([pinned]), FORMATS.docker.entries([tagged]));
  });

  test('two sizes for one blob are refused', () => {
    const image = sampleImage('a', blobs, [base, { ...base, size: 5 }]);
    assert.throws(() => FORMATS.docker.entries([image]), { code: 'content-mismatch' });
  });
});

suite('the name of an archive', () => {
  test('has both names of an image that loads by another one', () => {
    const filename = (image: string, loaded: string): string =>
      archiveFilename({
        ...{ references: [parseReference(image)], name: parseReference(loaded) },
        ...{ format: 'docker', platform: parsePlatform('linux/arm64') },
      });
    assert.equal(filename('busybox:1.36', 'mine:2'), 'busybox_1.36_linux-arm64_as-mine_2.tar');
    assert.match(filename('busybox', 'm'.repeat(200)), /^busybox_linux-arm64_as-m{35}-[0-9a-f]{12}\.tar$/);
  });

  const nameOf = (
    references: readonly string[],
    platform: NamedArchive['platform'],
    base?: NamedArchive['base'],
  ): string =>
    archiveFilename({ references: references.map(parseReference), format: 'docker', platform, base });
  const name = (platform: string | undefined, ...images: string[]): string =>
    nameOf(images, platform === undefined ? undefined : parsePlatform(platform));

  for (const [expected, platform, ...images] of [
    ['busybox.tar', undefined, 'busybox'],
    ['busybox.tar', undefined, 'localhost:5000/busybox'],
    ['busybox.tar', undefined, 'localhost:5000/library/busybox'],
    ['busybox_1.36.tar', undefined, 'busybox:1.36'],
    ['busybox_latest.tar', undefined, 'busybox:latest'],
    ['busybox_1.36_linux-arm64.tar', 'linux/arm64/v8', 'busybox:1.36'],
    ['busybox_linux-arm-v7.tar', 'linux/arm/v7', 'busybox'],
    ['grafana_grafana.tar', undefined, 'grafana/grafana'],
    ['org_app_v1.tar', undefined, 'ghcr.io/org/app:v1'],
    ['busybox_sha256-aaaaaaaaaaaa.tar', undefined, `busybox@sha256:${'a'.repeat(64)}`],
    ['busybox_1.36.tar', undefined, `busybox:1.36@sha256:${'a'.repeat(64)}`],
    ['busybox_1.36+alpine.tar', undefined, 'busybox:1.36', 'alpine'],
    ['a+2-more-84405245.tar', undefined, 'a', 'b'.repeat(50), 'c'.repeat(50)],
    ['_aux.tar', undefined, 'aux'],
    ['_nul.x.tar', undefined, 'nul.x'],
  ] as [string, string | undefined, ...string[]][]) {
    test(`${images.join(' and ').slice(0, 60)} is ${expected}`, () =>
      assert.equal(name(platform, ...images), expected));
  }

  for (const [expected, platform, image, bases, layers] of [
    ['app_2.1_delta-from-2.0.tar', undefined, 'a.lan/app:2.1', ['a.lan/app:2.0'], 0],
    ['app_delta-from-latest.tar', undefined, 'app', ['app'], 0],
    ['app_2.1_delta-from-2.0+base_1.tar', undefined, 'app:2.1', ['app:2.0', 'base:1'], 0],
    ['app_2.1_linux-arm64_delta-from-2.0.tar', 'linux/arm64', 'app:2.1', ['app:2.0'], 0],
    ['app_2.1_delta-from-1-layer-e191bc1a.tar', undefined, 'app:2.1', [], 1],
    ['app_2.1_delta-from-2.0+3-layers-4144c3b0.tar', undefined, 'app:2.1', ['app:2.0'], 3],
    ['app_delta-from-sha256-aaaaaaaaaaaa.tar', undefined, 'app', [`app@sha256:${'a'.repeat(64)}`], 0],
    ['app_delta-from-1+1-more-06fa3833.tar', undefined, 'app', ['app:1', `app:${'2'.repeat(60)}`], 0],
  ] as [string, string | undefined, string, string[], number][]) {
    test(`a delta is ${expected}`, () => {
      const base = {
        references: bases.map(parseReference),
        layers: Array.from({ length: layers }, (_, at) => parseDigest(`sha256:${`${at}`.repeat(64)}`)),
      };
      const wanted = platform === undefined ? undefined : parsePlatform(platform);
      assert.equal(nameOf([image], wanted, base), expected);
    });
  }

  test('names that count tell apart what they count', () => {
    const layer = (digit: string) => parseDigest(`sha256:${digit.repeat(64)}`);
    const delta = (...digits: string[]) =>
      nameOf(['app'], undefined, { references: [], layers: digits.map(layer) });
    assert.notEqual(delta('1', '2'), delta('1', '3'));
    assert.equal(delta('1', '2'), delta('2', '1'), 'the delta is the same');
    const far = 'x'.repeat(60);
    const from = (...names: string[]) =>
      nameOf(['app'], undefined, {
        references: names.map(parseReference),
        layers: [],
      });
    assert.notEqual(from('app:1', `app:a${far}`), from('app:1', `app:b${far}`));
    assert.notEqual(name(undefined, 'a', `b${far}`, far), name(undefined, 'a', `c${far}`, far));
    const sites = ['a.lan', 'b.lan'].map((site) => name(undefined, 'a', `${site}/${far}`, far));
    assert.notEqual(sites[0], sites[1], 'from another registry');
    const platforms = (...variants: string[]) =>
      nameOf(
        ['app'],
        variants.map((variant) => parsePlatform(`linux/arm/${'v'.repeat(29)}${variant}`)),
      );
    assert.match(platforms('a', 'b', 'c', 'd'), /^app_4-platforms-[0-9a-f]{8}\.tar$/);
    assert.notEqual(platforms('a', 'b', 'c', 'd'), platforms('a', 'b', 'c', 'e'));
  });

  test('long names are cut and stay apart', () => {
    const long = `a/${'b'.repeat(240)}`;
    const names = ['x', 'y'].map((end) => name(undefined, `${long}${end}:${'t'.repeat(128)}`));
    assert.notEqual(names[0], names[1]);
    for (const cut of names) assert.match(cut, /^[\w.+-]{1,200}$/);
    const base = { references: [parseReference(`b/${long}:${'t'.repeat(128)}`)], layers: [] };
    const longest = nameOf([long], parsePlatform(`linux/${'a'.repeat(32)}`), base);
    assert.match(`${longest}.part1234of5678.sha256`, /^[\w.+-]{1,254}$/);
  });
});

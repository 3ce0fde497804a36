import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { after, before, beforeEach, suite, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { extract } from 'tar-stream';
import { parseDigest } from '../../../src/oci/digest.ts';
import { parsePlatform } from '../../../src/oci/platform.ts';
import { parsePlatformChoice } from '../../../src/oci/platform-choice.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import type { Archive, ArchiveRequest } from '../../../src/sources/image-source.ts';
import { createRegistrySource } from '../../../src/sources/registry/source.ts';
import { createMemoryCaches } from '../../../src/util/memory-caches.ts';
import { createStack, type Stack } from '../../registry/stack.ts';
import { type FaultProxy, startFaultProxy } from '../../support/fault-proxy.ts';
import {
  artifact,
  blob,
  image,
  index,
  layer,
  type Manifest,
  manifest,
  sha256,
} from '../../support/images.ts';
import { skipUnless } from '../../support/packages.ts';
import { push } from '../../support/push.ts';
import { type Registry, startRegistry } from '../../support/registry.ts';
import { busyboxImage, type StandardImages, standardImages } from '../../support/standard-images.ts';
import { untarStrictly } from '../../support/strict-untar.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { waitFor } from '../../support/wait-for.ts';

const never = new AbortController().signal;
const INDEX = 'application/vnd.oci.image.index.v1+json';

suite('the registry source, from a real registry', {
  skip: skipUnless('docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  let registry: Registry;
  let stack: Stack;
  let images: StandardImages;

  before(async () => {
    registry = await startRegistry();
    images = await standardImages(registry);
    stack = createStack({ hosts: [registry.host] });
  });

  after(async () => {
    await stack.http.close();
    await registry[Symbol.asyncDispose]();
  });

  beforeEach(() => registry.reset());

  interface Asked extends Partial<Omit<ArchiveRequest, 'references' | 'platform'>> {
    platform?: string;
    maxSize?: number;
    from?: { host: string; stack: Stack };
  }

  const open = (
    names: string | string[],
    {
      platform,
      maxSize = Number.MAX_SAFE_INTEGER,
      from = { host: registry.host, stack },
      ...asked
    }: Asked = {},
  ): Promise<Archive> => {
    const { client, signatures } = from.stack;
    const defaultPlatform = parsePlatform('linux/amd64');
    const source = createRegistrySource({ client, maxSize, defaultPlatform, signatures, now: Date.now });
    const request: ArchiveRequest = {
      references: [names].flat().map((name) => parseReference(`${from.host}/${name}`)),
      platform: platform === undefined ? undefined : parsePlatformChoice(platform),
      format: 'docker',
      ...asked,
    };
    return source.open(request, never);
  };

  test('open archives of one image share what they hold, and hold no large config', async () => {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    const platform = { os: 'linux', architecture: 'amd64' };
    const config = { Cmd: ['x'.repeat(3 * 2 ** 20)] };
    const layers = [await layer({ files: { a: 'a' } })];
    await push(registry.url, 'test/heavy', 'latest', image({ platform, layers, config }));
    const { client, signatures } = stack;
    const caches = createMemoryCaches(() => 0);
    const source = createRegistrySource({
      ...{ client, signatures, caches, maxSize: 1e9, now: () => 0 },
      defaultPlatform: parsePlatform('linux/amd64'),
    });
    const request: ArchiveRequest = {
      references: [parseReference(`${registry.host}/test/heavy`)],
      ...{ platform: undefined, format: 'docker' },
    };
    const over = new AbortController();
    const held = (): number => caches.uses().find(({ name }) => name === 'archive-metadata')?.bytes ?? -1;
    const first = await source.open(request, over.signal);
    const one = held();
    collect();
    const before = process.memoryUsage().arrayBuffers;
    const archives: Archive[] = [];
    for (let at = 0; at < 10; at++) archives.push((await source.open(request, over.signal)) as Archive);
    assert.equal(held(), one);
    await waitFor(() => {
      collect();
      return process.memoryUsage().arrayBuffers - before < 2 ** 20;
    });
    assert.equal((await bytesOf(archives[9] as Archive)).length, first.size);
    over.abort();
    assert.equal(held(), 0);
  });

  /** A source that notes the digests of the blobs that it reads, over an image of its own. */
  const startNoting = async (
    repository: string,
    checks: { sizes?: () => Promise<void>; signature?: () => Promise<undefined> } = {},
  ) => {
    const read: string[] = [];
    const { client, signatures } = stack;
    const source = createRegistrySource({
      client: {
        ...client,
        checkSizes: checks.sizes ?? client.checkSizes,
        blobs(reference) {
          const reader = client.blobs(reference);
          return {
            ...reader,
            read(blob, ...rest) {
              read.push(blob.digest);
              return reader.read(blob, ...rest);
            },
          };
        },
      },
      signatures: { ...signatures, require: checks.signature ?? signatures.require },
      ...{ defaultPlatform: parsePlatform('linux/amd64'), maxSize: 1e9, now: () => 0 },
    });
    const publish = async (content: string) => {
      const platform = { os: 'linux', architecture: 'amd64' };
      const layers = [await layer({ files: { content } })];
      await push(registry.url, repository, 'latest', image({ platform, layers, config: { Cmd: [content] } }));
    };
    await publish('first');
    const references = [parseReference(`${registry.host}/${repository}`)];
    const openOne = (more: Partial<ArchiveRequest> = {}) =>
      source.open({ references, platform: undefined, format: 'docker', ...more }, never);
    return { read, publish, open: openOne };
  };

  test('an archive is composed once, and again when its tag has moved', async () => {
    const { read, publish, open: openOne } = await startNoting('test/repeated');
    const first = await openOne();
    assert.equal(read.length, 1, 'the config');
    const again = await openOne();
    assert.equal(read.length, 1);
    assert.deepEqual({ ...again, read: 0 }, { ...first, read: 0 });
    assert.deepEqual(await bytesOf(again), await bytesOf(first));
    await publish('second');
    const moved = await openOne();
    assert.notEqual(moved.etag, first.etag);
    assert.notDeepEqual(moved.digests, first.digests);
  });

  for (const [option, more] of Object.entries<Partial<ArchiveRequest>>({
    format: { format: 'oci' },
    name: { name: parseReference('mine.example/app:2') },
    platform: { platform: parsePlatformChoice('linux/amd64/v2') },
  }))
    test(`an archive that was composed before is not sent for another ${option}`, async () => {
      const { open: openOne } = await startNoting('test/repeated');
      const plain = await openOne();
      const other = await openOne(more);
      assert.notDeepEqual([other.etag, other.filename], [plain.etag, plain.filename]);
    });

  test('an archive that was composed before is refused once its check fails', async () => {
    for (const check of ['sizes', 'signature'] as const) {
      let fails = false;
      const { open: openOne } = await startNoting('test/repeated', {
        async [check]() {
          if (fails) throw new Error(check);
          return undefined;
        },
      });
      await openOne();
      fails = true;
      await assert.rejects(openOne(), { message: check });
    }
  });

  for (const format of ['docker', 'oci'] as const)
    test(`an archive with format ${format} has the requested name, and otherwise the same entries`, async () => {
      const name = parseReference('mine.example/app:2');
      const own = await open('library/busybox', { format });
      const renamed = await open('library/busybox', { format, name });
      assert.notEqual(renamed.etag, own.etag);
      assert.deepEqual(renamed.digests, own.digests);
      assert.match(renamed.filename, /^busybox_as-app_2\.tar$/);
      const [entries, ownEntries] = [await entriesOf(renamed), await entriesOf(own)];
      assert.deepEqual([...entries.keys()], [...ownEntries.keys()]);
      const [{ annotations }] = JSON.parse(`${entries.get('index.json')}`).manifests;
      assert.equal(annotations['io.containerd.image.name'], 'mine.example/app:2');
      assert.equal(annotations['org.opencontainers.image.ref.name'], '2');
      if (format === 'docker')
        assert.deepEqual(JSON.parse(`${entries.get('manifest.json')}`)[0].RepoTags, ['mine.example/app:2']);
      // The digest decides the image, and the name gives it a tag.
      const pinned = await open(`library/busybox@${own.upstream?.[0]}`, { format, name });
      assert.equal(pinned.etag, renamed.etag);
    });

  const bytesOf = (archive: Archive): Promise<Buffer> => buffer(archive.read(undefined, never));

  /** The requested paths without the repository, with a name in place of each digest. */
  async function requested(): Promise<string[]> {
    return (await registry.requests()).map(({ method, path }) =>
      `${method} ${path.replace(/^\/v2\/.*\/(manifests|blobs)\//, '$1/')}`.replace(/^GET /, ''),
    );
  }

  async function entriesOf(archive: Archive): Promise<Map<string, Buffer>> {
    const bytes = await bytesOf(archive);
    assert.equal(bytes.length, archive.size);
    const entries = new Map<string, Buffer>();
    const reader = Readable.from([bytes]).pipe(extract());
    for await (const entry of reader) {
      assert.ok(!entries.has(entry.header.name), 'each file once');
      entries.set(entry.header.name, await buffer(entry));
    }
    return entries;
  }

  const blobPath = (digest: string): string => `blobs/${digest.replace(':', '/')}`;

  suite('the platform', () => {
    const found: [name: string, platform: string | undefined, image: () => Manifest][] = [
      ['library/busybox', undefined, () => images.busyboxAmd64],
      ['library/busybox', 'linux/amd64', () => images.busyboxAmd64],
      ['library/busybox', 'linux/arm64', () => images.busyboxArm64],
      ['library/busybox', 'linux/arm64/v8', () => images.busyboxArm64],
      ['library/busybox:1.35', undefined, () => images.busybox135],
      ['test/nested', undefined, () => images.busyboxAmd64],
      ['test/nested', 'linux/arm64', () => images.busyboxArm64],
      ['test/arm-only', 'linux/arm64', () => images.armOnly],
      ['test/no-media-type', undefined, () => images.noMediaType],
    ];
    for (const [name, platform, expected] of found) {
      test(`${name} for ${platform ?? 'the default'} is found`, async () => {
        const archive = await open(name, platform === undefined ? {} : { platform });
        assert.deepEqual(archive.digests, [expected().descriptor.digest]);
      });
    }

    const missing: [name: string, platform: string | undefined, message: RegExp][] = [
      [
        'library/busybox',
        'linux/s390x',
        /is not available for linux\/s390x\. Available platforms: linux\/amd64, linux\/arm64\/v8\.$/,
      ],
      ['library/busybox', 'windows/amd64', /\. Available platforms: linux\/amd64, linux\/arm64\/v8\.$/],
      ['library/busybox', 'linux/arm/v7', /\. Available platforms: linux\/amd64, linux\/arm64\/v8\.$/],
      ['test/nested', 'linux/s390x', /\. Available platforms: linux\/amd64, linux\/arm64\/v8\.$/],
      [
        'test/arm-only',
        undefined,
        /is not available for linux\/amd64\. Available platforms: linux\/arm64\/v8\.$/,
      ],
      ['test/arm-only', 'linux/amd64', /\. Available platforms: linux\/arm64\/v8\.$/],
      ['library/busybox:1.35', 'linux/arm64', /\. Available platforms: linux\/amd64\.$/],
    ];
    for (const [name, platform, message] of missing) {
      test(`${name} is not available for ${platform ?? 'the default'}, and the error lists the available platforms`, () =>
        assert.rejects(open(name, platform === undefined ? {} : { platform }), {
          code: 'platform-not-found',
          status: 404,
          message,
        }));
    }

    test('an attestation is never chosen, whatever is asked for', async () => {
      await assert.rejects(open('library/busybox', { platform: 'unknown/unknown' }), {
        code: 'platform-not-found',
      });
    });

    test('a digest of one manifest means this one, also for another platform than the default', async () => {
      const { digest } = images.busyboxArm64.descriptor;
      assert.deepEqual((await open(`library/busybox@${digest}`)).digests, [digest]);
      await assert.rejects(open(`library/busybox@${digest}`, { platform: 'linux/amd64' }), {
        code: 'platform-not-found',
      });
    });

    test('a digest of an index selects the default', async () => {
      const archive = await open(`library/busybox@${images.busybox.descriptor.digest}`);
      assert.deepEqual(archive.digests, [images.busyboxAmd64.descriptor.digest]);
    });

    test('an entry without a platform is checked by its config', async () => {
      const { platform: _, ...anonymous } = images.busyboxArm64.descriptor;
      const body = { schemaVersion: 2, mediaType: INDEX, manifests: [anonymous] };
      await push(registry.url, 'test/anonymous', 'latest', manifest(INDEX, body, [], [images.busyboxArm64]));
      const archive = await open('test/anonymous', { platform: 'linux/arm64' });
      assert.deepEqual(archive.digests, [images.busyboxArm64.descriptor.digest]);
      await assert.rejects(open('test/anonymous'), {
        code: 'platform-not-found',
        message: /\. Available platforms: linux\/arm64\/v8\.$/,
      });
    });

    test('an index without images is reported as empty', async () => {
      await push(registry.url, 'test/nothing', 'latest', index([]));
      await assert.rejects(open('test/nothing'), {
        code: 'platform-not-found',
        message: /Its index lists no images\.$/,
      });
    });

    test('an artifact in an index does not hide what else there is', async () => {
      const chart = await artifact();
      const list = index([chart, images.busyboxArm64]);
      await push(registry.url, 'test/mixed', 'latest', list);
      const archive = await open('test/mixed', { platform: 'linux/arm64' });
      assert.deepEqual(archive.digests, [images.busyboxArm64.descriptor.digest]);
      await assert.rejects(open('test/mixed'), { code: 'platform-not-found' });
    });

    test('indexes without an end are given up', async () => {
      let top: Manifest = index([images.busyboxArm64]);
      for (let depth = 0; depth < 20; depth++) top = index([top], { annotations: { depth: String(depth) } });
      await push(registry.url, 'test/deep', 'latest', top);
      await registry.reset();
      await assert.rejects(open('test/deep'), {
        code: 'registry-failed',
        message: /has more than 16 levels/,
      });
      assert.equal((await requested()).length, 16);
    });
  });

  suite('round trips', () => {
    const trips: [name: string, expected: () => string[]][] = [
      [
        'library/busybox',
        () => [
          'manifests/latest',
          `manifests/${images.busyboxAmd64.descriptor.digest}`,
          `blobs/${images.busyboxAmd64.config.descriptor.digest}`,
        ],
      ],
      [
        'library/busybox:1.35',
        () => ['manifests/1.35', `blobs/${images.busybox135.config.descriptor.digest}`],
      ],
    ];
    for (const [name, expected] of trips) {
      test(`${name} takes one for each manifest and one for the config`, async () => {
        await open(name);
        assert.deepEqual(await requested(), expected());
      });
    }

    test('a manifest by its digest takes one, and one for the config', async () => {
      const { descriptor, config } = images.busyboxAmd64;
      await open(`library/busybox@${descriptor.digest}`);
      assert.deepEqual(await requested(), [
        `manifests/${descriptor.digest}`,
        `blobs/${config.descriptor.digest}`,
      ]);
    });

    test('nothing more is asked for until the archive is read, and then each blob once', async () => {
      const archive = await open('test/shared:1');
      await registry.reset();
      await bytesOf(archive);
      assert.deepEqual(
        await requested(),
        images.shared1.layers.map(({ descriptor }) => `blobs/${descriptor.digest}`),
        'the config was read before',
      );
    });
  });

  suite('the archive', () => {
    test('has every blob of its image byte for byte under its digest', async () => {
      const entries = await entriesOf(await open('library/busybox'));
      const { descriptor, bytes, config, layers } = images.busyboxAmd64;
      assert.deepEqual(
        [...entries.keys()],
        [
          'oci-layout',
          'index.json',
          'manifest.json',
          'blobs/',
          'blobs/sha256/',
          ...[descriptor, config.descriptor, ...layers.map((one) => one.descriptor)].map(({ digest }) =>
            blobPath(digest),
          ),
        ],
      );
      assert.deepEqual(entries.get(blobPath(descriptor.digest)), bytes);
      for (const [path, content] of entries) {
        if (/^blobs\/.*[^/]$/.test(path)) assert.equal(blobPath(sha256(content)), path);
      }
      assert.deepEqual(JSON.parse(String(entries.get('manifest.json'))), [
        {
          Config: blobPath(config.descriptor.digest),
          RepoTags: [`${registry.host}/library/busybox:latest`],
          Layers: layers.map((one) => blobPath(one.descriptor.digest)),
        },
      ]);
    });

    test('unpacks with readers that create folders only from entries', async () => {
      const have = { references: [parseReference(`${registry.host}/library/busybox`)], layers: [] };
      for (const [names, asked] of [
        ['library/busybox', {}],
        ['library/busybox', { format: 'oci' }],
        ['library/busybox', { format: 'oci', platform: 'all' }],
        [['test/shared:1', 'test/shared:2'], {}],
        ['test/shared:1', { have }],
      ] as const) {
        await using folder = await temporaryFolder();
        const entries = await untarStrictly(
          await bytesOf(await open([...[names].flat()], asked)),
          folder.path,
        );
        assert.deepEqual(
          entries.filter((name) => name.endsWith('/')),
          ['blobs/', 'blobs/sha256/'],
        );
      }
    });

    test('states the platform of the config in index.json, whatever is asked for', async () => {
      const arm64 = { architecture: 'arm64', os: 'linux', variant: 'v8' };
      for (const [name, asked, expected] of [
        ['library/busybox', { platform: 'linux/arm64' }, arm64],
        ['test/arm-only', { platform: 'linux/arm64', format: 'oci' }, arm64],
        ['test/arm-only', { platform: 'all', format: 'oci' }, arm64],
        [`test/arm-only@${images.armOnly.descriptor.digest}`, {}, arm64],
        ['library/busybox:1.35', {}, { architecture: 'amd64', os: 'linux' }],
        ['library/busybox', { platform: 'all', format: 'oci' }, undefined],
      ] as const) {
        const [listed] = JSON.parse(
          `${(await entriesOf(await open(name, asked))).get('index.json')}`,
        ).manifests;
        assert.deepEqual(listed.platform, expected, name);
      }
    });

    test('is the same for a tag with and without its digest, whatever the index states', async () => {
      const platform = { os: 'linux', architecture: 'arm' };
      const made = image({ platform, layers: [await layer({ files: { a: 'b' } })] });
      const v6 = { ...made, descriptor: { ...made.descriptor, platform: { ...platform, variant: 'v6' } } };
      await push(registry.url, 'test/arm-v6', 'latest', index([v6]));
      const found = await open('test/arm-v6', { platform: 'linux/arm/v6' });
      const pinned = await open(`test/arm-v6:latest@${made.descriptor.digest}`);
      assert.equal(found.etag, pinned.etag);
    });

    test('for a Docker schema 2 image has its digest upstream and lists an OCI manifest', async () => {
      const archive = await open('library/busybox:1.35');
      const { descriptor, config } = images.busybox135;
      assert.deepEqual(archive.digests, [descriptor.digest]);
      const entries = await entriesOf(archive);
      const [listed] = JSON.parse(`${entries.get('index.json')}`).manifests;
      assert.equal(listed.mediaType, 'application/vnd.oci.image.manifest.v1+json');
      assert.equal(sha256(entries.get(blobPath(listed.digest)) ?? Buffer.of()), listed.digest);
      assert.deepEqual(entries.get(blobPath(config.descriptor.digest)), config.content);
      assert.ok(!entries.has(blobPath(descriptor.digest)));
    });

    test('asked for twice is the same twice', async () => {
      const [first, second] = [await open('library/busybox'), await open('library/busybox')];
      assert.equal(first.etag, second.etag);
      assert.match(first.etag, /^"[!#-~]+"$/);
      assert.deepEqual(await bytesOf(first), await bytesOf(second));
    });

    test('for another image, platform, format or order has another ETag', async () => {
      const etags = await Promise.all([
        open('library/busybox'),
        open('library/busybox:1.35'),
        open('library/busybox', { platform: 'linux/arm64' }),
        open('library/busybox', { format: 'oci' }),
        open(['test/shared:1', 'test/shared:2']),
        open(['test/shared:2', 'test/shared:1']),
      ]).then((archives) => archives.map(({ etag }) => etag));
      assert.equal(new Set(etags).size, etags.length);
    });

    test('is the same in pieces, wherever they are cut', async () => {
      const archive = await open('test/shared:1');
      const whole = await bytesOf(archive);
      const cuts = [
        0,
        1,
        511,
        512,
        5000,
        whole.length >> 1,
        whole.length - 1025,
        whole.length - 1,
        whole.length,
      ];
      const pieces: Buffer[] = [];
      for (const [at, start] of cuts.slice(0, -1).entries()) {
        pieces.push(await buffer(archive.read({ start, end: cuts[at + 1] ?? 0 }, never)));
      }
      assert.deepEqual(Buffer.concat(pieces), whole);
    });

    test('has a layer that its image names twice once', async () => {
      const entries = await entriesOf(await open('test/twice'));
      const path = blobPath(images.twice.layers[1]?.descriptor.digest ?? '');
      assert.deepEqual(JSON.parse(String(entries.get('manifest.json')))[0].Layers.slice(-2), [path, path]);
    });

    test('for several images has a shared layer once, fetched once', async () => {
      const archive = await open(['test/shared:1', 'test/shared:2']);
      assert.deepEqual(archive.digests, [images.shared1.descriptor.digest, images.shared2.descriptor.digest]);
      assert.equal(archive.filename, 'test_shared_1+test_shared_2.tar');
      await registry.reset();
      const entries = await entriesOf(archive);
      const layers = new Set(
        [images.shared1, images.shared2].flatMap((one) =>
          one.layers.map(({ descriptor }) => descriptor.digest),
        ),
      );
      assert.equal(layers.size, 3);
      assert.deepEqual((await requested()).sort(), [...layers].map((digest) => `blobs/${digest}`).sort());
      assert.equal([...entries.keys()].filter((path) => /^blobs\/.*[^/]$/.test(path)).length, 2 + 2 + 3);
    });

    test('for images in several repositories reads each blob from its own repository', async () => {
      const archive = await open(['library/busybox', 'test/shared:1', 'test/twice']);
      assert.equal((await bytesOf(archive)).length, archive.size);
    });

    test('has a name that says what is in it', async () => {
      const names = await Promise.all([
        open('library/busybox'),
        open('library/busybox', { platform: 'linux/amd64' }),
        open('library/busybox', { platform: 'linux/arm64' }),
      ]);
      assert.deepEqual(
        names.map(({ filename }) => filename),
        ['busybox.tar', 'busybox.tar', 'busybox_linux-arm64.tar'],
      );
    });

    test('says whether a layer needs zstd', async () => {
      assert.equal((await open('test/zstd')).zstd, true);
      assert.equal((await open('library/busybox')).zstd, false);
      assert.equal((await open(['library/busybox', 'test/zstd'])).zstd, true);
      const mixed = await busyboxImage('amd64', {
        layers: [await layer({ files: { own: 'x' }, compression: 'zstd' })],
      });
      await push(registry.url, 'test/mixed-compression', 'latest', mixed);
      assert.equal((await open('test/mixed-compression')).zstd, true);
    });

    test('may be as large as the limit, and no byte larger', async () => {
      const { size } = await open('library/busybox');
      assert.equal((await open('library/busybox', { maxSize: size })).size, size);
      await assert.rejects(open('library/busybox', { maxSize: size - 1 }), {
        code: 'image-too-large',
        status: 403,
        message: `The archive would have ${size} bytes. This service sends at most ${size - 1}.`,
      });
    });
  });

  suite('artifacts other than images', () => {
    test('a Helm chart', () =>
      assert.rejects(open('test/helm'), {
        code: 'not-an-image',
        status: 422,
        message: /application\/vnd\.cncf\.helm\.config\.v1\+json/,
      }));

    test('a manifest whose config disagrees on its layers', async () => {
      const { config, layers } = images.shared1;
      const body = {
        schemaVersion: 2,
        mediaType: images.shared1.descriptor.mediaType,
        config: config.descriptor,
        layers: layers.slice(1).map(({ descriptor }) => descriptor),
      };
      const odd = manifest(images.shared1.descriptor.mediaType, body, [config, ...layers], []);
      await push(registry.url, 'test/odd', 'latest', odd);
      await assert.rejects(open('test/odd'), { code: 'not-an-image', message: /list different layers/ });
    });

    test('a config of more than 4 MiB', async () => {
      const mediaType = 'application/vnd.oci.image.config.v1+json';
      const config = blob(mediaType, Buffer.alloc(4 * 1024 * 1024 + 1, ' '));
      const { mediaType: type } = images.shared1.descriptor;
      const body = { schemaVersion: 2, mediaType: type, config: config.descriptor, layers: [] };
      await push(registry.url, 'test/obese', 'latest', manifest(type, body, [config], []));
      await registry.reset();
      await assert.rejects(open('test/obese'), { code: 'registry-failed', message: /config .* too large/ });
      assert.deepEqual(await requested(), ['manifests/latest'], 'it is not fetched');
    });

    test('one bad image among good ones refuses the archive', async () => {
      await assert.rejects(open(['library/busybox', 'test/helm']), { code: 'not-an-image' });
      await assert.rejects(open(['library/busybox', 'test/none']), { code: 'image-not-found' });
    });

    test('a foreign layer that is missing everywhere is reported before the first byte', async () => {
      const mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
      const foreign = await layer({ files: { base: 'x' }, mediaType, urls: [] });
      const withForeign = image({
        platform: { os: 'linux', architecture: 'amd64' },
        layers: [foreign, await layer({ files: { own: 'y' } })],
      });
      // A registry takes no such manifest without an address to go to, so it is served by hand.
      await using proxy = await startFaultProxy(registry.url);
      const headers = { 'content-type': withForeign.descriptor.mediaType };
      const bodies = [
        ['/manifests/', withForeign.bytes],
        [withForeign.config.descriptor.digest, withForeign.config.content as Buffer],
      ] as const;
      proxy.inject(({ path }) => {
        const [, body] = bodies.find(([part]) => path.includes(part)) ?? [];
        return body && { kind: 'answer', status: 200, headers, body };
      });
      await using behind = createStack({ hosts: [proxy.host] });
      const digest = parseDigest(withForeign.descriptor.digest);
      await assert.rejects(open(`test/foreign@${digest}`, { from: { host: proxy.host, stack: behind } }), {
        code: 'layer-unavailable',
        status: 422,
      });
      assert.equal(proxy.requests.at(-1)?.method, 'HEAD');
    });
  });

  suite('a registry that fails', () => {
    let proxy: FaultProxy;
    before(async () => {
      proxy = await startFaultProxy(registry.url);
    });
    after(() => proxy.close());

    test('in the middle of the archive makes it end in an error, never cleanly', async () => {
      await using behind = createStack({ hosts: [proxy.host] });
      const archive = await open('library/busybox', { from: { host: proxy.host, stack: behind } });
      proxy.inject(({ path }) => (path.includes('/blobs/') ? { kind: 'flip', at: 1000 } : undefined));
      await assert.rejects(bytesOf(archive), { code: 'content-mismatch' });
    });

    test('for one image ends the work for the others', async () => {
      await using behind = createStack({ hosts: [proxy.host] });
      proxy.inject(({ path }) =>
        path.includes('/test/shared/')
          ? { kind: 'hold', until: new Promise(() => {}) }
          : { kind: 'answer', status: 503 },
      );
      await assert.rejects(
        open(['test/shared:1', 'library/busybox'], { from: { host: proxy.host, stack: behind } }),
        {
          code: 'registry-unavailable',
        },
      );
      const isHeld = ({ path }: { path: string }): boolean => path.includes('/test/shared/');
      await waitFor(() => proxy.requests.find(isHeld)?.state === 'aborted by client');
    });
  });
});

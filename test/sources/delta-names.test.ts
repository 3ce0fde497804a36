import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { extract } from 'tar-stream';
import { parseArchiveQuery } from '../../src/download/query.ts';
import { type Digest, sha256 } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { formatPlatform, parsePlatform } from '../../src/oci/platform.ts';
import type { RegistryClient } from '../../src/registry/client.ts';
import type { Archive } from '../../src/sources/image-source.ts';
import { createRegistrySource } from '../../src/sources/registry/source.ts';
import { NOT_CHECKED } from '../../src/sources/signatures/image-signatures.ts';
import { memoryClient } from './memory-client.ts';

const never = new AbortController().signal;
const LAYER = 'application/vnd.oci.image.layer.v1.tar';
const NAME = 'docker.io/library/app';

interface Named {
  readonly descriptor: { readonly mediaType: string; readonly digest: Digest; readonly size: number };
}

/** An in-memory registry whose images have a letter for each layer; layers with capital letters are uncompressed. */
function createRegistry() {
  const manifests = new Map<string, Buffer>();
  const blobs = new Map<string, Buffer>();
  const keep = (content: string, mediaType: string): Named['descriptor'] => {
    const bytes = Buffer.from(content);
    blobs.set(sha256(bytes), bytes);
    return { mediaType, digest: sha256(bytes), size: bytes.length };
  };
  const diffId = (letter: string): Digest =>
    sha256(Buffer.from(letter === letter.toUpperCase() ? `layer ${letter}` : `${letter} unpacked`));
  const layer = (letter: string): Named['descriptor'] =>
    keep(`layer ${letter}`, letter === letter.toUpperCase() ? LAYER : `${LAYER}+gzip`);
  const push = (tag: string, mediaType: string, body: object): Named['descriptor'] => {
    const descriptor = keep(JSON.stringify({ schemaVersion: 2, mediaType, ...body }), mediaType);
    const bytes = blobs.get(descriptor.digest) ?? assert.fail();
    for (const reference of [tag, descriptor.digest]) manifests.set(reference, bytes);
    return descriptor;
  };
  const image = (tag: string, letters: string): Named['descriptor'] => {
    const config = {
      os: 'linux',
      architecture: 'amd64',
      tag,
      rootfs: { type: 'layers', diff_ids: [...letters].map(diffId) },
    };
    return push(tag, MEDIA_TYPES.ociManifest, {
      config: keep(JSON.stringify(config), 'application/vnd.oci.image.config.v1+json'),
      layers: [...letters].map(layer),
    });
  };
  const index = (tag: string, entry: Named['descriptor']): Named['descriptor'] => {
    const platform = { os: 'linux', architecture: 'amd64' };
    return push(tag, MEDIA_TYPES.ociIndex, { manifests: [{ ...entry, platform }] });
  };
  return { client: memoryClient(manifests, blobs), image, index, layer, diffId };
}

function sourceOf(client: RegistryClient) {
  return createRegistrySource({
    client,
    defaultPlatform: parsePlatform('linux/amd64'),
    maxSize: Number.MAX_SAFE_INTEGER,
    signatures: { require: async () => undefined, describe: async () => NOT_CHECKED },
    now: Date.now,
  });
}

/** The names of the images in an archive, for readers of the OCI layout and of manifest.json. */
async function namesIn(archive: Archive): Promise<{ oci: unknown[]; docker: unknown[] | undefined }> {
  const files = new Map<string, unknown>();
  const reader = extract();
  reader.end(await buffer(archive.read(undefined, never)));
  for await (const entry of reader) {
    const content = `${await buffer(entry)}`;
    if (/^(?:index|manifest)\.json$/.test(entry.header.name))
      files.set(entry.header.name, JSON.parse(content));
  }
  const { manifests } = files.get('index.json') as { manifests: { annotations?: Record<string, string> }[] };
  const docker = files.get('manifest.json') as { RepoTags: unknown }[] | undefined;
  return {
    oci: manifests.map(({ annotations }) => annotations?.['io.containerd.image.name']),
    docker: docker?.map(({ RepoTags }) => RepoTags),
  };
}

suite('the tag of a delta', () => {
  const registry = createRegistry();
  const { image, index, layer, diffId } = registry;
  const base = image('1', 'ab');
  const wanted = image('2', 'abc');
  const indexed = index('indexed', base);
  image('other', 'ax');
  image('plain', 'Ab');
  const source = sourceOf(registry.client);
  const open = (have: string[], more: Record<string, string | string[]> = {}): Promise<Archive> => {
    const query = parseArchiveQuery({ myimage: 'app:2', have, ...more });
    return source.open(query, never);
  };
  const byDigest = `${NAME}@${wanted.digest}`;

  const proofs: [string, string[]][] = [
    ['the digest of a manifest', [`app@${base.digest}`]],
    ['the digests of packed layers', [layer('a').digest, layer('b').digest]],
    ['the digest of a manifest beside its tag and diff IDs', [`app@${base.digest}`, 'app:1', diffId('a')]],
  ];
  for (const [what, have] of proofs)
    test(`stays where have is ${what}`, async () => {
      for (const format of ['docker', 'oci']) {
        const archive = await open(have, { format });
        assert.equal(archive.omitted?.layers.length, 2);
        assert.deepEqual(archive.omitted?.untagged, []);
        assert.deepEqual(await namesIn(archive), {
          oci: [`${NAME}:2`],
          docker: format === 'docker' ? [[`${NAME}:2`]] : undefined,
        });
      }
    });

  const claims: [string, string[]][] = [
    ['a tag', ['app:1']],
    ['a tag beside its digest', [`app:1@${base.digest}`]],
    ['the digest of an index', [`app@${indexed.digest}`]],
    ['diff IDs, as Docker shows them', [diffId('a'), diffId('b')]],
    ['the digest of one layer and the diff ID of another', [layer('a').digest, diffId('b')]],
    ['a tag and the digest of a manifest that shares only a part', ['app:1', layer('a').digest]],
  ];
  for (const [what, have] of claims)
    test(`is omitted where have is ${what}`, async () => {
      for (const format of ['docker', 'oci']) {
        const archive = await open(have, { format });
        assert.equal(archive.omitted?.layers.length, 2);
        const [untagged] = archive.omitted?.untagged ?? [];
        assert.deepEqual([untagged?.reference.tag, untagged?.digest], ['2', wanted.digest]);
        assert.deepEqual(await namesIn(archive), {
          oci: [byDigest],
          docker: format === 'docker' ? [null] : undefined,
        });
      }
    });

  test('is omitted if the digest of an uncompressed layer may be a diff ID', async () => {
    const archive = await open([layer('A').digest], { myimage: 'app:plain' });
    assert.equal(archive.omitted?.layers.length, 1);
    assert.equal(archive.omitted?.untagged.length, 1);
  });

  test('stays if no layer is omitted', async () => {
    const archive = await open([diffId('z'), 'app:plain']);
    assert.deepEqual(archive.omitted?.untagged, []);
    assert.deepEqual((await namesIn(archive)).oci, [`${NAME}:2`]);
  });

  test('is decided image by image in a bundle', async () => {
    const archive = await open(['app:1', `app@${base.digest}`], { myimage: ['app:2', 'app:plain'] });
    assert.deepEqual(archive.omitted?.untagged, []);
    const mixed = await open([layer('a').digest, diffId('b')], { myimage: ['app:2', 'app:other'] });
    assert.deepEqual((await namesIn(mixed)).docker, [null, [`${NAME}:other`]]);
    assert.equal(mixed.omitted?.untagged.length, 1);
  });

  test('is absent for an image requested by digest', async () => {
    const archive = await open(['app:1'], { myimage: `app@${wanted.digest}` });
    assert.equal(archive.omitted?.layers.length, 2);
    assert.deepEqual(archive.omitted?.untagged, []);
  });

  test('for all platforms stays only if have lists compressed layers', async () => {
    index('all', wanted);
    const all = { myimage: 'app:all', platform: 'all', format: 'oci' };
    const claimed = await open([`app@${indexed.digest}`], all);
    assert.equal(claimed.omitted?.layers.length, 2);
    assert.match(`${(await namesIn(claimed)).oci}`, /app@sha256:/);
    assert.deepEqual(
      claimed.omitted?.untagged.map(({ platforms }) => platforms.map(formatPlatform)),
      [['linux/amd64']],
    );
    for (const have of [[`app@${base.digest}`], [layer('a').digest, layer('b').digest]]) {
      const proven = await open(have, all);
      assert.equal(proven.omitted?.layers.length, 2);
      assert.deepEqual((await namesIn(proven)).oci, [`${NAME}:all`]);
    }
  });

  test('gives an archive with the same bytes as the digest instead', async () => {
    const [untagged, byItsDigest] = [
      await open(['app:1']),
      await open(['app:1'], { myimage: `app@${wanted.digest}` }),
    ];
    assert.equal(untagged.etag, byItsDigest.etag);
  });
});

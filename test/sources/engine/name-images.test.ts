import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { extract, pack } from 'tar-stream';
import { type ImageName, nameImages } from '../../../src/sources/engine/name-images.ts';

const never = new AbortController().signal;
const hex = (digit: string): string => digit.repeat(64);
const id = (digit: string): string => `sha256:${hex(digit)}`;
const containerdName = 'io.containerd.image.name';
const ociName = 'org.opencontainers.image.ref.name';

/** Returns the files with names that a loader reads from an archive, each as JSON. */
async function named(files: Record<string, unknown>, names: ImageName[]): Promise<Record<string, unknown>> {
  const tar = pack();
  for (const [name, content] of Object.entries({ ...files, 'oci-layout': {} }))
    tar.entry({ name }, JSON.stringify(content));
  tar.finalize();
  const reader = extract();
  reader.end(await buffer(nameImages(Readable.from(await buffer(tar)), names, never)));
  const found: Record<string, unknown> = {};
  for await (const entry of reader) found[entry.header.name] = JSON.parse(`${await buffer(entry)}`);
  return found;
}

suite('names in a saved archive', () => {
  test('dockerd up to 24: by the ID in the name of the config', async () => {
    const files = {
      'manifest.json': [
        { Config: `${hex('1')}.json`, RepoTags: null, Layers: ['x/layer.tar'] },
        { Config: `${hex('2')}.json`, RepoTags: ['docker.io/library/b:1'], Layers: [] },
        { Config: `${hex('3')}.json`, RepoTags: null, Layers: [] },
      ],
    };
    const names = [
      { id: id('1'), name: 'docker.io/library/a:1' },
      { id: id('2'), name: 'docker.io/library/b:2' },
      { id: id('2'), name: 'docker.io/library/b:1' },
    ];
    assert.deepEqual((await named(files, names))['manifest.json'], [
      { Config: `${hex('1')}.json`, RepoTags: ['docker.io/library/a:1'], Layers: ['x/layer.tar'] },
      {
        Config: `${hex('2')}.json`,
        RepoTags: ['docker.io/library/b:1', 'docker.io/library/b:2'],
        Layers: [],
      },
      { Config: `${hex('3')}.json`, RepoTags: null, Layers: [] },
    ]);
  });

  test('the containerd store: by the digest of the manifest, and for the only unnamed image', async () => {
    const manifest = { mediaType: 'application/vnd.oci.image.manifest.v1+json', size: 1 };
    const other = {
      ...manifest,
      digest: id('9'),
      annotations: { [containerdName]: 'r.lan:5000/b:1', [ociName]: '1' },
    };
    const files = {
      'index.json': {
        schemaVersion: 2,
        manifests: [other, { ...manifest, digest: id('1') }, { ...other, annotations: { more: 'x' } }],
      },
      'manifest.json': [
        { Config: `blobs/sha256/${hex('a')}`, RepoTags: ['r.lan:5000/b:1'], Layers: [] },
        { Config: `blobs/sha256/${hex('b')}`, RepoTags: [], Layers: [] },
      ],
    };
    const found = await named(files, [{ id: id('1'), name: 'r.lan:5000/a:2' }]);
    assert.deepEqual(found['index.json'], {
      schemaVersion: 2,
      manifests: [
        other,
        {
          ...manifest,
          digest: id('1'),
          annotations: { [containerdName]: 'r.lan:5000/a:2', [ociName]: '2' },
        },
        { ...other, annotations: { more: 'x' } },
      ],
    });
    assert.deepEqual(found['manifest.json'], [
      { Config: `blobs/sha256/${hex('a')}`, RepoTags: ['r.lan:5000/b:1'], Layers: [] },
      { Config: `blobs/sha256/${hex('b')}`, RepoTags: ['r.lan:5000/a:2'], Layers: [] },
    ]);
  });

  test('index.json lists an image without its attestations, with a name to give and without', async () => {
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const image = { mediaType, digest: id('1'), size: 1 };
    const attestation = {
      ...{ mediaType, digest: id('2'), size: 1 },
      annotations: { 'io.containerd.manifest.subject': id('1') },
    };
    const files = {
      'index.json': { schemaVersion: 2, manifests: [image, attestation] },
      'manifest.json': [{ Config: `blobs/sha256/${hex('a')}`, RepoTags: null, Layers: [] }],
    };
    const unnamed = await named(files, []);
    assert.deepEqual(unnamed['index.json'], { schemaVersion: 2, manifests: [image] });
    assert.deepEqual(unnamed['manifest.json'], files['manifest.json']);
    const withName = await named(files, [{ id: id('a'), name: 'r.lan:5000/a:2' }]);
    assert.deepEqual(withName['index.json'], {
      schemaVersion: 2,
      manifests: [{ ...image, annotations: { [containerdName]: 'r.lan:5000/a:2', [ociName]: '2' } }],
    });
  });

  test('ambiguous images stay without a name, and so do files other than lists', async () => {
    const entry = { RepoTags: null, Layers: [] };
    const files = {
      'manifest.json': [
        { Config: `blobs/sha256/${hex('a')}`, ...entry },
        { Config: `blobs/sha256/${hex('b')}`, ...entry },
      ],
      'index.json': { manifests: 'none' },
    };
    const found = await named(files, [{ id: id('1'), name: 'r.lan/a:1' }]);
    assert.deepEqual(found, { ...files, 'oci-layout': {} });
  });
});

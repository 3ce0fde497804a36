import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseDigest } from '../../../src/oci/digest.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { contentsSource } from '../../../src/sources/contents/contents-source.ts';
import type { Archive } from '../../../src/sources/image-source.ts';
import { treeOf } from '../../contents/layers.ts';

suite('source of unpacked archives', () => {
  test('lays out a root file system once for requests at the same time and later', async () => {
    const digest = parseDigest(`sha256:${'a'.repeat(64)}`);
    const layers = [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 1 }];
    const found = treeOf([{ path: 'a', data: Buffer.from('a') }]);
    let layouts = 0;
    const tree = { ...found, files: () => [found.files(), layouts++][0] as Int32Array };
    const image = { reference: parseReference('app'), config: layers[0], configBytes: Buffer.from('{}') };
    const archive = { images: [{ ...image, layers, diffIds: [digest], blobs: { read: assert.fail } }] };
    const inner = { traits: {}, open: async () => archive as unknown as Archive };
    const contents = { open: async () => ({ layers, diffIds: [digest], tree }) };
    const source = contentsSource({
      ...{ source: inner as never, contents, maxSize: Number.POSITIVE_INFINITY },
      hashes: { find: () => assert.fail(), compute: () => assert.fail() },
    });
    const { signal } = new AbortController();
    const open = () =>
      source.open({ references: [image.reference], platform: undefined, format: 'rootfs' }, signal);
    const [one, two] = await Promise.all([open(), open()]);
    const three = await open();
    assert.deepEqual([one.etag, two.etag], [three.etag, three.etag]);
    assert.equal(one.size, three.size);
    assert.equal(layouts, 1);
  });
});

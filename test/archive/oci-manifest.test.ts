import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ociManifest } from '../../src/archive/oci-manifest.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { sha256 } from '../../src/oci/digest.ts';
import { parseManifest } from '../../src/oci/manifest.ts';

const digestOf = (text: string) => sha256(new TextEncoder().encode(text));
const config: Descriptor = {
  mediaType: 'application/vnd.docker.container.image.v1+json',
  digest: digestOf('config'),
  size: 6,
};
const layer = (mediaType: string, more: Partial<Descriptor> = {}): Descriptor => ({
  mediaType,
  digest: digestOf('layer'),
  size: 5,
  ...more,
});

suite('the OCI manifest of a Docker schema 2 image', () => {
  test('has the config and layers with OCI media types, in the order of the specification', () => {
    const gzip = layer('application/vnd.docker.image.rootfs.diff.tar.gzip', { annotations: { a: 'b' } });
    const { descriptor, bytes } = ociManifest({ config, layers: [gzip] });
    assert.equal(
      new TextDecoder().decode(bytes),
      '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",' +
        `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"${config.digest}","size":6},` +
        `"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"${gzip.digest}","size":5}]}`,
    );
    assert.deepEqual(descriptor, {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: sha256(bytes),
      size: bytes.length,
    });
  });

  for (const [docker, oci] of [
    ['application/vnd.docker.image.rootfs.diff.tar', 'tar'],
    ['application/vnd.docker.image.rootfs.diff.tar.gzip', 'tar+gzip'],
    ['application/vnd.docker.image.rootfs.diff.tar+gzip', 'tar+gzip'],
    ['application/vnd.docker.image.rootfs.diff.tar.zstd', 'tar+zstd'],
    ['application/vnd.oci.image.layer.v1.tar+zstd', 'tar+zstd'],
    ['application/octet-stream', 'tar+gzip'],
    ['', 'tar+gzip'],
  ] as const) {
    test(`turns a layer of type "${docker}" into ${oci}`, () => {
      const { bytes } = ociManifest({ config, layers: [layer(docker)] });
      const read = parseManifest(bytes, undefined);
      assert.ok(read.kind === 'image');
      assert.deepEqual(read.layers, [layer(`application/vnd.oci.image.layer.v1.${oci}`)]);
    });
  }

  test('keeps a foreign layer foreign, with its URLs', () => {
    const urls = ['https://example.org/layer'];
    const foreign = layer('application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', { urls });
    const read = parseManifest(ociManifest({ config, layers: [foreign] }).bytes, undefined);
    assert.ok(read.kind === 'image');
    assert.deepEqual(read.layers, [
      layer('application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', { urls }),
    ]);
  });

  test('has the OCI config type, even if an old manifest states another one', () => {
    for (const mediaType of ['application/octet-stream', 'text/html', '']) {
      const { bytes } = ociManifest({ config: { ...config, mediaType }, layers: [] });
      const read = parseManifest(bytes, undefined);
      assert.ok(read.kind === 'image');
      assert.equal(read.config.mediaType, 'application/vnd.oci.image.config.v1+json');
    }
  });
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { negotiate } from '../../../src/http/registry-api/accept.ts';
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts';

const { ociIndex, ociManifest, dockerIndex, dockerManifest } = MEDIA_TYPES;

suite('the Accept header of a request for a manifest', () => {
  test('that is absent, open, or names no manifest gets the manifest itself', () => {
    for (const accept of [
      undefined,
      '',
      '*/*',
      'application/json',
      `${dockerManifest}, */*;q=0.1`,
      'application/*',
    ])
      for (const type of [ociIndex, dockerIndex, 'application/vnd.example+json'])
        assert.equal(negotiate(accept, type, true), 'manifest', `${accept} ${type}`);
  });

  test('that names the type gets the manifest, whatever its parameters and case', () => {
    assert.equal(negotiate(`${dockerManifest}, ${ociIndex};q=0.5`, ociIndex, true), 'manifest');
    assert.equal(negotiate(ociManifest.toUpperCase(), ociManifest, false), 'manifest');
  });

  test('that gives a type the weight 0 does not get it', () => {
    for (const weight of [';q=0', '; q=0.000', ';Q=0.0 ', ';a=b;q=0;c=d']) {
      assert.equal(negotiate(`${dockerManifest}, */*${weight}`, ociManifest, true), 'nothing', weight);
      assert.equal(negotiate(`${dockerManifest}, ${ociIndex}${weight}`, ociIndex, true), 'nothing', weight);
    }
    for (const weight of [';q=0.001', ';q=0.5', ';q=1'])
      assert.equal(negotiate(`${dockerManifest}, */*${weight}`, ociManifest, true), 'manifest', weight);
  });

  test('without OCI types gets no OCI manifest', () => {
    assert.equal(negotiate(dockerManifest, ociManifest, true), 'nothing');
    assert.equal(negotiate(`${dockerManifest}, ${dockerIndex}`, ociIndex, false), 'nothing');
  });

  test('without manifest lists gets the image of a platform for a tag, and the list for its digest', () => {
    assert.equal(negotiate(dockerManifest, dockerIndex, true), 'platform');
    assert.equal(negotiate(dockerManifest, dockerIndex, false), 'manifest');
  });
});

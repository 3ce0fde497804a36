import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { composeArchive } from '../../src/archive/compose.ts';
import { FORMATS } from '../../src/archive/format.ts';
import { cutRange, layoutArchive } from '../../src/archive/layout.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { MemoryBlobs, sampleImage } from './samples.ts';

/**
 * Layout version 3 of one image. Replicas of every release send exactly these bytes. After a change to them, increase
 * LAYOUT_VERSION and update the figures here.
 */
const GOLDEN = {
  docker: {
    etag: '"3-a5f69a4eb3476d8da8140e255ca3d8407f5b55a0acdae1c661e8fff14b0b2f7e"',
    sha256: '272321b1e9794aef85ee838932979078a74162e28c00e5ad2e417ba38dd04385',
  },
  oci: {
    etag: '"3-6336fb5ad7017b52d6073daedd824d347066381c53d49121bb76468b0d08cdd1"',
    sha256: '9b268d8986c6f36b5b134d4112c76c996ea9001073d652546703b29aa3daab3d',
  },
} as const;

/**
 * A Docker schema 2 image is listed by its OCI manifest in the docker format, so that its archive has the same bytes.
 */
const MADE_FROM = [
  ['docker', MEDIA_TYPES.ociManifest],
  ['oci', MEDIA_TYPES.ociManifest],
  ['docker', MEDIA_TYPES.dockerManifest],
] as const;

suite('the layout version', () => {
  for (const [format, mediaType] of MADE_FROM) {
    test(`is in the ETag, and its bytes stay what they are: ${format} from ${mediaType}`, async () => {
      const blobs = new MemoryBlobs();
      const layers = ['one', 'two'].map((text) => blobs.add(new TextEncoder().encode(text)));
      const layout = layoutArchive(
        FORMATS[format].entries([sampleImage('busybox:1.36', blobs, layers, mediaType)]),
      );
      const whole = { start: 0, end: layout.size };
      const bytes = await buffer(
        composeArchive(cutRange(layout, whole), blobs, new AbortController().signal),
      );
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      assert.deepEqual({ etag: layout.etag, sha256 }, GOLDEN[format]);
      assert.match(layout.etag, /^"3-/);
    });
  }
});

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { composeArchive } from '../../src/archive/compose.ts';
import { archiveEntries } from '../../src/archive/entries.ts';
import { cutRange, layoutArchive } from '../../src/archive/layout.ts';
import { MemoryBlobs, sampleImage } from './samples.ts';

/**
 * What version 2 makes of one image. Replicas of any release give these very bytes: what is not equal to them needs a
 * new LAYOUT_VERSION, and then new figures here.
 */
const GOLDEN = {
  docker: {
    etag: '"2-c2e6bf89967233f8687b452074deb338a3f54e1c27c721081ff039955e4f9813"',
    sha256: '6c0488496d8bd552d4d16a0147912d0ab4dc782327f16e12c2577922f507305d',
  },
  oci: {
    etag: '"2-dcd6ec34595d844e38875fbe5190dcfc959d271dd7e88418c221258509056086"',
    sha256: '7f06d6bc2da16a1ccce05e252ac8445b2b70e6f6f509f294cd9c5efba26f78fa',
  },
} as const;

suite('the layout version', () => {
  for (const format of ['docker', 'oci'] as const) {
    test(`is in the ETag, and its bytes stay what they are: ${format}`, async () => {
      const blobs = new MemoryBlobs();
      const layers = ['one', 'two'].map((text) => blobs.add(new TextEncoder().encode(text)));
      const layout = layoutArchive(archiveEntries([sampleImage('busybox:1.36', blobs, layers)], format));
      const whole = { start: 0, end: layout.size };
      const bytes = await buffer(
        composeArchive(cutRange(layout, whole), blobs, new AbortController().signal),
      );
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      assert.deepEqual({ etag: layout.etag, sha256 }, GOLDEN[format]);
      assert.match(layout.etag, /^"2-/);
    });
  }
});

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { composeArchive } from '../../src/archive/compose.ts';
import { archiveEntries } from '../../src/archive/entries.ts';
import { cutRange, layoutArchive } from '../../src/archive/layout.ts';
import { MemoryBlobs, sampleImage } from './samples.ts';

/**
 * Layout version 3 of one image. Replicas of every release send these very bytes: a change to them needs a new
 * LAYOUT_VERSION, and then new figures here.
 */
const GOLDEN = {
  docker: {
    etag: '"3-efd6524f81d5ca84ce7dae297910936c53f4c004c0f3c7f970b8b2c037d4d1da"',
    sha256: '09ff8b23659a9f6bc801fdb74000b2e3146b39d16511f6d384dc024353074f14',
  },
  oci: {
    etag: '"3-63467282b31d3342c317b9bd077ffcb48c93b7c76ed1ea99ec1364347f23cc0a"',
    sha256: '1c02d7467d162f52cebc7b5d0727ef3dc41889c2d784f604985db59138a0532d',
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
      assert.match(layout.etag, /^"3-/);
    });
  }
});

import assert from 'node:assert/strict';
import { open, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { composeArchive } from '../../src/archive/compose.ts';
import { cutRange, type Layout } from '../../src/archive/layout.ts';
import { layoutFile, layoutRootfs } from '../../src/archive/rootfs.ts';
import { mergeLayers } from '../../src/contents/merge-layers.ts';
import type { BlobReader } from '../../src/oci/blob-reader.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { finish, scanAll, tableOf, tarOf, type Written } from '../contents/layers.ts';
import { runOrThrow } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { MemoryBlobs } from './samples.ts';

/** Lays out the files of some layers. Returns a function that reads a range of the archive. */
function rootfsOf(...tars: readonly Buffer[]) {
  const blobs = new MemoryBlobs();
  const layers = tars.map((tar) => blobs.add(gzipSync(tar)));
  const tree = finish(mergeLayers(tars.map(tableOf)));
  const layout: Layout = finish(layoutRootfs({ layers, diffIds: tars.map((_, at) => `${at}`), tree }));
  const read = (start: number, end: number): Promise<Buffer> =>
    buffer(composeArchive(cutRange(layout, { start, end }), blobs, new AbortController().signal));
  return { layout, read };
}

const file = (path: string, size: number): Written => ({ path, data: Buffer.alloc(size, path) });

suite('the layout of a root file system', () => {
  test('ranges are the whole together, wherever it is cut', async () => {
    const many = Array.from({ length: 1500 }, (_, at) => file(`d/${at}`, at % 700));
    const { layout, read } = rootfsOf(
      tarOf([file('a', 100_000), file('b', 0), { path: 'c', type: 'hardlink', link: 'a' }, ...many]),
      tarOf([
        file('.wh.b', 0),
        file('a', 5),
        { path: 'x/'.repeat(150).concat('y'), data: Buffer.from('deep') },
      ]),
    );
    const whole = await read(0, layout.size);
    assert.equal(whole.length, layout.size);
    assert.equal(scanAll(whole).find(({ name }) => name === 'c')?.type, 'file');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(layout.size), { minLength: 1, maxLength: 5 }), async (cuts) => {
        const ends = [...cuts.sort((a, b) => a - b), layout.size];
        const parts = await Promise.all(ends.map((end, at) => read(ends[at - 1] ?? 0, end)));
        assert.ok(Buffer.concat(parts).equals(whole));
      }),
      { numRuns: 30 },
    );
  });

  for (const [what, size] of [
    ['small', 100],
    ['large', 1_000_000],
  ] as const)
    test(`the last bytes of a ${what} file wait for the digest of a layer that is not stored`, async () => {
      const tar = tarOf([file('a', size), file('b', 5000)]);
      const packed = gzipSync(tar);
      const digest = `sha256:${'0'.repeat(64)}` as Digest;
      const layers = [{ mediaType: '', digest, size: packed.length }];
      const blobs: BlobReader = {
        read: async () =>
          Readable.from(
            (async function* () {
              yield packed.subarray(0, -1);
              throw new Error('another digest');
            })(),
          ),
      };
      const tree = finish(mergeLayers([tableOf(tar)]));
      const layout = layoutFile({ layers, diffIds: ['0'], tree }, tree.find('a', false) ?? -1);
      assert.equal(layout.size, size);
      let received = 0;
      const archive = composeArchive(
        cutRange(layout, { start: 0, end: size }),
        blobs,
        new AbortController().signal,
      );
      await assert.rejects(async () => {
        for await (const { length } of archive as AsyncIterable<Buffer>) received += length;
      }, /another digest/);
      assert.ok(received < size, `${received}`);
    });

  test('a sparse file is sent with its zeros', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'sparse');
    const handle = await open(path, 'w');
    for (const at of [0, 300_000, 900_000]) await handle.write(`part ${at}`, at);
    await handle.close();
    await truncate(path, 1_000_001);
    const tar = join(folder.path, 'a.tar');
    await runOrThrow('tar', ['-C', folder.path, '-cSf', tar, '--format=pax', 'sparse']);
    const { layout, read } = rootfsOf(await readFile(tar));
    const whole = await read(0, layout.size);
    const [entry] = scanAll(whole);
    const offset = entry?.offset ?? 0;
    assert.equal(entry?.segments, undefined);
    assert.ok(whole.subarray(offset, offset + 1_000_001).equals(await readFile(path)));
    assert.ok(
      (await read(offset + 299_000, offset + 301_000)).equals(
        whole.subarray(offset + 299_000, offset + 301_000),
      ),
    );
  });
});

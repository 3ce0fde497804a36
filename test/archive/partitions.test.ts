import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { composeArchive } from '../../src/archive/compose.ts';
import { layoutClassic, withOneLayer, withOwnLayers } from '../../src/archive/docker-classic.ts';
import { cutRange, type Layout } from '../../src/archive/layout.ts';
import { layoutRootfs, type NamedImage } from '../../src/archive/rootfs.ts';
import type { LayerTable } from '../../src/contents/layer-table.ts';
import { mergeLayers } from '../../src/contents/merge-layers.ts';
import { decodeTable, encodeTable } from '../../src/contents/table-codec.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { finish, scanAll, tableOf, tarOf, type Written } from '../contents/layers.ts';
import { sha256 } from '../support/images.ts';
import { MemoryBlobs } from './samples.ts';

const name = fc.constantFrom('a', 'b', 'c\xff', 'n'.repeat(120));
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
const nanoseconds = fc.constantFrom(0, 5);
const xattrs = fc.constantFrom([], [['user.note', 'a\nb'] as const]);
const file = fc.record({
  ...{ path, nanoseconds, xattrs },
  type: fc.constant('file' as const),
  data: fc.constantFrom(0, 1, 511, 512, 70_000).map((size) => Buffer.alloc(size, `${size} `)),
});
const other = fc.record({
  ...{ path, nanoseconds, xattrs },
  type: fc.constantFrom('directory' as const, 'symlink' as const, 'fifo' as const),
  link: path,
});
/** Every file gets a second name. */
const withNames = (entries: readonly Written[]): Written[] => [
  ...entries,
  ...entries
    .filter(({ type }) => type === 'file')
    .map(({ path: link }, at) => ({ path: `names-${at}`, type: 'hardlink' as const, link })),
];
/** Directories have names that no file has, so that no entry is below a file. */
const layer = fc
  .array(fc.oneof(file, other), { maxLength: 6 })
  .map((entries) => entries.map((entry): Written => ({ ...entry, path: `${entry.type}/${entry.path}.x` })))
  .map((entries) => withNames([...new Map(entries.map((entry) => [entry.path, entry])).values()]));
const compression = fc.constantFrom(gzipSync, zstdCompressSync, (tar: Buffer) => tar);

type Reader = (start: number, end: number) => Promise<Buffer>;

/** Lays out an image by the tables of its layers. */
function imageOf(
  tables: readonly LayerTable[],
  tars: readonly Buffer[],
  layers: NamedImage['layers'],
): NamedImage {
  const diffIds = tars.map(sha256);
  const configBytes = Buffer.from(
    JSON.stringify({ os: 'linux', rootfs: { type: 'layers', diff_ids: diffIds } }),
  );
  return {
    ...{ reference: parseReference('test:1'), layers, diffIds, configBytes },
    config: { mediaType: '', digest: parseDigest(sha256(configBytes)), size: configBytes.length },
    tree: finish(mergeLayers(tables)),
  };
}

const FORMATS: Readonly<Record<string, (image: NamedImage) => Layout>> = {
  rootfs: (image) => finish(layoutRootfs(image)),
  'docker-classic': (image) => layoutClassic([withOwnLayers(image), withOwnLayers(image)]),
  'docker-classic, squashed': (image) =>
    layoutClassic([
      withOneLayer(image, finish(layoutRootfs(image)), parseDigest(`sha256:${'0'.repeat(64)}`)),
    ]),
};

suite('archives of unpacked files', () => {
  for (const [format, layout] of Object.entries(FORMATS))
    test(`any ranges of ${format} are the whole together, also from stored tables`, async () => {
      const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 });
      await fc.assert(
        fc.asyncProperty(
          fc.array(layer, { minLength: 1, maxLength: 3 }),
          compression,
          cuts,
          async (entries, compress, shares) => {
            const tars = entries.map(tarOf);
            const blobs = new MemoryBlobs();
            const layers = tars.map((tar) => blobs.add(compress(tar)));
            const tables = tars.map(tableOf);
            const own = layout(imageOf(tables, tars, layers));
            const read: Reader = (start, end) =>
              buffer(composeArchive(cutRange(own, { start, end }), blobs, new AbortController().signal));
            const whole = await read(0, own.size);
            assert.equal(whole.length, own.size);
            scanAll(whole);
            const ends = [
              ...shares.map((share) => Math.floor(share * own.size)).sort((a, b) => a - b),
              own.size,
            ];
            const parts = await Promise.all(ends.map((end, at) => read(ends[at - 1] ?? 0, end)));
            assert.ok(Buffer.concat(parts).equals(whole));
            const stored = tables.map((table, at) =>
              finish(decodeTable(encodeTable(table, sha256(tars[at] ?? whole)))),
            );
            const again = layout(
              imageOf(
                stored.flatMap((one) => (one ? [one.table] : [])),
                tars,
                layers,
              ),
            );
            assert.deepEqual([again.etag, again.size], [own.etag, own.size]);
            const same = composeArchive(
              cutRange(again, { start: 0, end: again.size }),
              blobs,
              new AbortController().signal,
            );
            assert.ok((await buffer(same)).equals(whole));
          },
        ),
        { numRuns: 40 },
      );
    });
});

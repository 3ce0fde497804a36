import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { createLayerTable, entryAt, tableBytes } from '../../src/contents/layer-table.ts';
import { mergeLayers } from '../../src/contents/merge-layers.ts';
import { decodeTable, encodeTable } from '../../src/contents/table-codec.ts';
import type { ScannedEntry } from '../../src/tar/scanner.ts';
import { finish, tableOf, tarOf, type Written } from './layers.ts';

const DIFF_ID = `sha256:${'a'.repeat(64)}`;

suite('the stored form of a layer table', () => {
  test('is the table again', () => {
    const text = fc.string({
      unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
    });
    const entry: fc.Arbitrary<Written> = fc.record({
      path: text.filter((path) => path.length > 0),
      type: fc.constantFrom('file', 'directory', 'symlink', 'hardlink', 'character', 'block', 'fifo'),
      link: text,
      mode: fc.nat(0o7777),
      uid: fc.nat(0xffff_fffe),
      gid: fc.nat(0xffff_fffe),
      mtime: fc.nat(2 ** 31),
      nanoseconds: fc.nat(999_999_999),
      device: fc.tuple(fc.nat(4095), fc.nat(1_048_575)),
      xattrs: fc.array(fc.tuple(fc.constantFrom('user.a', 'security.capability'), text), { maxLength: 1 }),
    });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
        const table = tableOf(tarOf(entries));
        const decoded = finish(decodeTable(encodeTable(table, DIFF_ID)));
        assert.deepEqual(decoded, { table, diffId: DIFF_ID });
        for (let at = 0; at < table.count; at++) entryAt(table, at);
      }),
      { numRuns: 500 },
    );
  });

  test('is refused when a byte of it changes', () => {
    const stored = encodeTable(tableOf(tarOf([{ path: 'a/b' }, { path: 'a/c' }])), DIFF_ID);
    for (let at = 0; at < stored.length; at++) {
      const damaged = Buffer.from(stored);
      damaged[at] = (damaged[at] ?? 0) ^ 1;
      assert.equal(finish(decodeTable(damaged)), undefined);
    }
    assert.equal(finish(decodeTable(stored.subarray(0, 10))), undefined);
  });

  test('takes at most 5 MB on the disk, 25 MB in memory, and 60 MB as a tree for 300,000 entries in as many directories', () => {
    const builder = createLayerTable();
    for (let at = 0, offset = 512; at < 300_000; at++) {
      const size = (at * 7919) % 20_000;
      builder.add(scanned(`usr/share/package-${at >> 6}/module-${at % 64}/file-${at * 31}.js`, size, offset));
      offset += 512 + Math.ceil(size / 512) * 512;
    }
    const table = builder.done(4_000_000_000);
    const stored = zstdCompressSync(encodeTable(table, DIFF_ID));
    assert.ok(stored.length < 5_000_000, `${stored.length} bytes on the disk`);
    assert.ok(tableBytes(table) < 25_000_000, `${tableBytes(table)} bytes in memory`);
    const { bytes } = finish(mergeLayers([table]));
    assert.ok(bytes < 60_000_000, `${bytes} bytes as a tree`);
  });
});

function scanned(name: string, size: number, offset: number): ScannedEntry {
  return {
    ...{ type: 'file', name, link: '', mode: 0o644, uid: 0, gid: 0, size, offset },
    ...{ mtime: { seconds: 1_700_000_000 + (offset % 1000), nanoseconds: 0 }, devMajor: 0, devMinor: 0 },
    ...{ xattrs: new Map(), segments: undefined },
  };
}

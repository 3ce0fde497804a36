import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { entryAt } from '../../src/contents/layer-table.ts';
import { mergeLayers, UnusableLayer } from '../../src/contents/merge-layers.ts';
import { decodeTable } from '../../src/contents/table-codec.ts';
import { entryHeader, entryHeaderSize } from '../../src/tar/entry-header.ts';
import { MalformedTar } from '../../src/tar/malformed-tar.ts';
import { finish, scanAll, tableOf, tarOf, type Written } from '../contents/layers.ts';
import { runs } from './budget.ts';

const name = fc.constantFrom(
  'a',
  'b',
  '..',
  '.',
  '',
  '.wh.a',
  '.wh.',
  '.wh..wh..opq',
  '.wh..wh.plnk',
  '\xff',
);
const path = fc.array(name, { minLength: 1, maxLength: 5 }).map((names) => names.join('/'));
const anyEntry = fc.record({
  path: path.map((text) => text || 'x'),
  type: fc.constantFrom('file', 'directory', 'symlink', 'hardlink', 'character', 'fifo'),
  link: path,
  nanoseconds: fc.constantFrom(0, 5),
  data: fc.constantFrom(Buffer.alloc(0), Buffer.alloc(600, 'x')),
});
// Other types have no data, whatever their headers state.
const entry = anyEntry.map(({ data, ...rest }): Written => (rest.type === 'file' ? { ...rest, data } : rest));
const layer = fc.array(entry, { maxLength: 8 });

suite('untrusted layers', () => {
  test('damaged tar archives are refused or read, in chunks of any size', () => {
    const change = fc.tuple(fc.nat(), fc.nat(255));
    fc.assert(
      fc.property(
        layer,
        fc.array(change, { maxLength: 6 }),
        fc.integer({ min: 1, max: 2000 }),
        (entries, changes, chunk) => {
          const tar = tarOf(entries);
          // Most changes are in headers, whose checksums are updated, so that the scanner continues.
          for (const [at, byte] of changes) tar[at % tar.length] = byte;
          for (let at = 0; at < tar.length; at += 512)
            if (tar.toString('latin1', at + 257, at + 262) === 'ustar') sum(tar, at);
          const outcome = (size: number): unknown => {
            try {
              return scanAll(tar, size);
            } catch (error) {
              assert.ok(error instanceof MalformedTar, String(error));
              return error.message;
            }
          };
          assert.deepEqual(outcome(chunk), outcome(tar.length));
        },
      ),
      runs('layers'),
    );
  });

  test('a merge is refused, or names nothing outside its root', () => {
    fc.assert(
      fc.property(fc.array(layer, { minLength: 1, maxLength: 3 }), (layers) => {
        try {
          const tree = finish(mergeLayers(layers.map((entries) => tableOf(tarOf(entries)))));
          for (const node of [...tree.directories(), ...tree.files()]) {
            const own = tree.path(node);
            assert.ok(
              own.split('/').every((part) => !['', '.', '..'].includes(part)),
              own,
            );
            assert.equal(tree.find(own, false), node);
            const written = { ...tree.file(node), path: own };
            assert.equal(entryHeader(written).length, entryHeaderSize(written));
          }
        } catch (error) {
          assert.ok(error instanceof UnusableLayer, String(error));
        }
      }),
      runs('layers'),
    );
  });

  test('a written header is read as it was meant', () => {
    const text = fc.string({
      minLength: 1,
      maxLength: 400,
      unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
    });
    const part = fc.string({ minLength: 1, maxLength: 200, unit: fc.constantFrom('a', 'é', '\xff') });
    const number = fc.constantFrom(0, 1, 0o7777777, 0o10000000, 0xffff_fffe);
    const written = fc.record({
      type: fc.constantFrom(
        'file' as const,
        'directory' as const,
        'symlink' as const,
        'hardlink' as const,
        'block' as const,
      ),
      path: fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/')),
      link: text,
      mode: fc.nat(0o7777),
      uid: number,
      gid: number,
      size: fc.constantFrom(0, 1, 0o77777777777, 0o100000000000),
      mtime: fc.constantFrom(0, 1_700_000_000, 9_000_000_000),
      nanoseconds: fc.constantFrom(0, 1, 500_000_000),
      device: fc.tuple(fc.nat(4095), fc.nat(1_048_575)),
      xattrs: fc.array(fc.tuple(fc.constantFrom('user.a', 'user.b'), text), { maxLength: 1 }),
    });
    fc.assert(
      fc.property(written, (given) => {
        const header = entryHeader(given);
        assert.equal(header.length, entryHeaderSize(given));
        const found: unknown[] = [];
        try {
          found.push(...scanAll(header));
        } catch (error) {
          // The data is missing.
          assert.ok(error instanceof MalformedTar, String(error));
        }
        const isFile = given.type === 'file' && given.size > 0;
        if (!isFile) assert.equal(found.length, 1);
      }),
      runs('layers'),
    );
  });

  test('stored tables are refused or read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const stored = finish(decodeTable(Buffer.from(bytes)));
        if (stored !== undefined) entryAt(stored.table, 0);
      }),
      runs('layers'),
    );
  });
});

function sum(tar: Buffer, at: number): void {
  tar.fill(0x20, at + 148, at + 156);
  let total = 0;
  for (const byte of tar.subarray(at, at + 512)) total += byte;
  tar.write(`${total.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
}

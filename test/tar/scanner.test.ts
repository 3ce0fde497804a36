import assert from 'node:assert/strict';
import { mkdir, open, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { entryHeader } from '../../src/tar/entry-header.ts';
import { MalformedTar } from '../../src/tar/malformed-tar.ts';
import { scanAll, tarOf } from '../contents/layers.ts';
import { runOrThrow } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const LONG = `${'d'.repeat(120)}/${'f'.repeat(130)}`;

suite('the tar scanner', () => {
  for (const format of ['v7', 'oldgnu', 'gnu', 'ustar', 'pax']) {
    test(`reads what GNU tar writes in the ${format} format`, async () => {
      await using folder = await temporaryFolder();
      const inside = (name: string): string => join(folder.path, 'in', name);
      await mkdir(inside('a'), { recursive: true });
      await writeFile(inside('a/file'), 'x'.repeat(1000));
      await runOrThrow('ln', ['-s', '../target', inside('a/soft')]);
      await runOrThrow('ln', [inside('a/file'), inside('a/hard')]);
      const hasLong = format !== 'v7' && format !== 'ustar';
      if (hasLong) {
        await mkdir(inside(LONG.slice(0, 120)));
        await writeFile(inside(LONG), 'long');
      }
      const file = join(folder.path, `${format}.tar`);
      await runOrThrow('tar', [
        ...['-C', join(folder.path, 'in'), '-cf', file, `--format=${format}`, '--sort=name'],
        ...['--owner=:1000', '--group=:2000', '--mtime=@1700000000.5', '.'],
      ]);
      const tar = await readFile(file);
      const entries = scanAll(tar);
      const named = (name: string) => entries.find((entry) => entry.name === `./${name}`);
      const data = named('a/file');
      assert.deepEqual([data?.type, data?.size, data?.uid, data?.gid], ['file', 1000, 1000, 2000]);
      assert.equal(tar.toString('latin1', data?.offset, (data?.offset ?? 0) + 1000), 'x'.repeat(1000));
      assert.deepEqual([named('a/soft')?.type, named('a/soft')?.link], ['symlink', '../target']);
      assert.deepEqual([named('a/hard')?.type, named('a/hard')?.link], ['hardlink', './a/file']);
      assert.equal(named('a/')?.type, 'directory');
      assert.deepEqual(data?.mtime, { seconds: 1_700_000_000, nanoseconds: format === 'pax' ? 5e8 : 0 });
      if (hasLong) assert.equal(named(LONG)?.size, 4);
    });
  }

  for (const [format, version] of [
    ['gnu', '0.0'],
    ['pax', '0.0'],
    ['pax', '0.1'],
    ['pax', '1.0'],
  ] as const) {
    test(`reads sparse files of the ${format} format, ${version}`, async () => {
      await using folder = await temporaryFolder();
      const path = join(folder.path, 'sparse');
      const handle = await open(path, 'w');
      for (let at = 0; at < 60; at++) await handle.write(`part ${at}`, at * 100_000);
      await handle.close();
      await truncate(path, 7_000_000);
      const file = join(folder.path, 'a.tar');
      await runOrThrow('tar', [
        ...['-C', folder.path, '-cSf', file, `--format=${format}`, `--sparse-version=${version}`],
        ...['sparse', 'sparse'].slice(0, 1),
      ]);
      const tar = await readFile(file);
      for (const chunk of [tar.length, 512, 700]) {
        const [entry, ...others] = scanAll(tar, chunk);
        assert.deepEqual([entry?.name, entry?.size, others.length], ['sparse', 7_000_000, 0]);
        const whole = Buffer.alloc(7_000_000);
        let at = entry?.offset ?? 0;
        for (const { offset, length } of entry?.segments ?? []) {
          tar.copy(whole, offset, at, at + length);
          at += length;
        }
        assert.ok(whole.equals(await readFile(path)));
      }
    });
  }

  test('gives the same entries for chunks of any size', () => {
    const tar = tarOf([
      { path: LONG.repeat(3), data: Buffer.from('one') },
      { path: 'caf\xe9', type: 'symlink', link: 'l'.repeat(300), uid: 3_000_000, mtime: 5, nanoseconds: 7 },
      { path: 'dev', type: 'character', device: [5, 1], xattrs: [['user.a', 'b\nc=d']] },
    ]);
    const whole = scanAll(tar);
    assert.equal(whole.length, 3);
    assert.equal(whole[0]?.name, LONG.repeat(3));
    assert.deepEqual(whole[1]?.mtime, { seconds: 5, nanoseconds: 7 });
    assert.deepEqual([...(whole[2]?.xattrs ?? [])], [['user.a', 'b\nc=d']]);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), (chunk) => {
        assert.deepEqual(scanAll(tar, chunk), whole);
      }),
      { numRuns: 50 },
    );
  });

  test('reads numbers in base 256', () => {
    const tar = tarOf([{ path: 'big', data: Buffer.alloc(700) }]);
    tar.fill(0, 124, 136);
    tar.set([0x80], 124);
    tar.writeUInt32BE(700, 132);
    const entry = scanAll(withChecksum(tar))[0];
    assert.equal(entry?.size, 700);
  });

  test('ignores global headers, as engines do', () => {
    const record = Buffer.from('15 path=global\n');
    const tar = Buffer.concat([
      globalHeader(record),
      Buffer.concat([record], 512),
      tarOf([{ path: 'own', data: Buffer.from('x') }]),
    ]);
    assert.deepEqual(
      scanAll(tar).map(({ name }) => name),
      ['own'],
    );
  });

  test('takes a slash for a directory only in entries from before ustar', () => {
    const tar = tarOf([{ path: 'old/' }]);
    assert.equal(scanAll(tar)[0]?.type, 'file');
    tar[156] = 0;
    assert.equal(scanAll(withChecksum(tar))[0]?.type, 'directory');
  });

  const whole = tarOf([{ path: 'a', data: Buffer.alloc(600) }]);
  const broken: Readonly<Record<string, Buffer>> = {
    'a header that is cut off': whole.subarray(0, 300),
    'data that is cut off': whole.subarray(0, 700),
    'data without its last byte': whole.subarray(0, 512 + 599),
    'a wrong checksum': Buffer.concat([Buffer.from('b'), whole.subarray(1)]),
    'an unknown type': withChecksum(replaced(whole, 156, 'V')),
    'data after one block of zeros': Buffer.concat([Buffer.alloc(512), whole]),
    'a path of 5,000 bytes': tarOf([{ path: 'a/'.repeat(2500) }]),
    'a number that is none': withChecksum(replaced(whole, 124, 'x')),
  };
  for (const [what, tar] of Object.entries(broken))
    test(`refuses ${what}`, () => assert.throws(() => scanAll(tar), MalformedTar));

  test('accepts an archive without its end, as engines do', () => {
    for (const length of [512 + 1024, 512 + 1024 + 512, 512 + 600, 512 + 700])
      assert.equal(scanAll(whole.subarray(0, length)).length, 1, `${length}`);
  });
});

function replaced(tar: Buffer, at: number, text: string): Buffer {
  const copy = Buffer.from(tar);
  copy.write(text, at, 'latin1');
  return copy;
}

function globalHeader(record: Buffer): Buffer {
  const header = entryHeader({
    ...{ type: 'file', path: 'g', link: '', mode: 0, uid: 0, gid: 0, size: record.length },
    ...{ mtime: 0, nanoseconds: 0, device: [0, 0], xattrs: [] },
  });
  return withChecksum(replaced(header, 156, 'g'));
}

function withChecksum(tar: Buffer): Buffer {
  tar.fill(0x20, 148, 156);
  const sum = tar.subarray(0, 512).reduce((a, b) => a + b, 0);
  tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return tar;
}

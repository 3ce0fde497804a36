import assert from 'node:assert/strict';
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { extract, pack } from 'tar-stream';
import { type Rewrite, rewriteTar } from '../../src/archive/rewrite-tar.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const FILES = {
  'a.json': '{"a":1}',
  'layer/manifest.json': 'another one',
  'manifest.json': '[1]',
  z: 'last',
};
const NAMES = new Set(['manifest.json']);

async function tarOf(files: Record<string, string | Buffer>): Promise<Buffer> {
  const tar = pack();
  for (const [name, content] of Object.entries(files)) tar.entry({ name }, content);
  tar.finalize();
  return buffer(tar);
}

async function contentsOf(tar: Uint8Array): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  const reader = extract();
  reader.end(tar);
  for await (const entry of reader) files[entry.header.name] = `${await buffer(entry)}`;
  return files;
}

/** Sends the archive in chunks of this many bytes. */
async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function rewritten(tar: Buffer, rewrite: Rewrite, size = 1000): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of rewriteTar(inPieces(tar, size), NAMES, rewrite)) parts.push(part);
  return Buffer.concat(parts);
}

suite('a file inside a tar', () => {
  const longer = `[${'2,'.repeat(1000)}3]`;

  test('is another one, longer or shorter, in whatever pieces the tar comes; all others stay', async () => {
    const tar = await tarOf(FILES);
    for (const size of [1, 511, 512, 513, 100_000]) {
      for (const content of [longer, '', '[1]']) {
        const seen: string[] = [];
        const other = await rewritten(
          tar,
          (name, old) => {
            seen.push(name, `${old}`);
            return Buffer.from(content);
          },
          size,
        );
        assert.deepEqual(seen, ['manifest.json', '[1]']);
        assert.deepEqual(await contentsOf(other), { ...FILES, 'manifest.json': content });
        assert.equal(other.length % 512, 0);
        assert.deepEqual(other.subarray(-1024), Buffer.alloc(1024));
      }
    }
  });

  test('stays unchanged to the byte without changes, and so do other bytes than a tar', async () => {
    const leave = (): undefined => undefined;
    const tar = await tarOf(FILES);
    for (const bytes of [
      tar,
      tar.subarray(0, 1500),
      Buffer.from('no tar'),
      Buffer.alloc(2000, 'x'),
      Buffer.alloc(0),
    ]) {
      for (const size of [1, 700, 100_000]) assert.deepEqual(await rewritten(bytes, leave, size), bytes);
    }
  });

  test('is found after a folder whose header states a size but has no content', async () => {
    const tar = pack();
    tar.entry({ name: 'blobs/', type: 'directory', size: 0 });
    tar.finalize();
    const folder = (await buffer(tar)).subarray(0, 512);
    folder.write('00000010000', 124, 'latin1');
    folder.write('        ', 148, 'latin1');
    const sum = folder.reduce((total, byte) => total + byte, 0);
    folder.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    const other = await rewritten(Buffer.concat([folder, await tarOf(FILES)]), () => Buffer.from('[2]'));
    assert.deepEqual(other.subarray(0, 512), folder);
    assert.deepEqual(await contentsOf(other.subarray(512)), { ...FILES, 'manifest.json': '[2]' });
  });

  test('is not changed where the tar breaks off in it', async () => {
    const tar = await tarOf({ 'manifest.json': longer });
    const half = tar.subarray(0, 1024);
    assert.deepEqual(await rewritten(half, () => Buffer.from('new')), half);
  });

  test('is found behind files of any size and name, as tar and Go write them', {
    skip: skipUnless('tar'),
  }, async () => {
    await using folder = await temporaryFolder();
    const inside = (name: string): string => join(folder.path, name);
    const long = `${'d'.repeat(90)}/${'f'.repeat(90)}`;
    await mkdir(inside('d'.repeat(90)));
    await writeFile(inside(long), 'long');
    await writeFile(inside('manifest.json'), '[1]');
    for (const format of ['ustar', 'gnu', 'pax']) {
      const tar = inside(`${format}.tar`);
      await runOrThrow('tar', ['-cf', tar, `--format=${format}`, '-C', folder.path, long, 'manifest.json']);
      const other = await rewritten(await readFile(tar), () => Buffer.from(longer));
      assert.deepEqual(await contentsOf(other), { [long]: 'long', 'manifest.json': longer }, format);
    }
  });

  test('is found behind one of more bytes than eleven octal digits can say', {
    skip: skipUnless('tar'),
  }, async () => {
    await using folder = await temporaryFolder();
    const size = 8 * 2 ** 30 + 512;
    await writeFile(join(folder.path, 'huge'), '');
    await truncate(join(folder.path, 'huge'), size);
    for (const [format, blocks] of [
      ['gnu', 1],
      ['pax', 3],
    ] as const) {
      const script = `tar -c --format=${format} huge 2>&- | head -c ${blocks * 512} > header`;
      await runOrThrow('sh', ['-c', script], { cwd: folder.path });
      const header = await readFile(join(folder.path, 'header'));
      const zeros = Buffer.alloc(2 ** 20);
      const tar = async function* (): AsyncGenerator<Buffer, void> {
        yield header;
        for (let left = size; left > 0; left -= zeros.length) yield zeros.subarray(0, left);
        yield await tarOf({ 'manifest.json': '[1]' });
      };
      let passed = 0;
      let end: Buffer = Buffer.alloc(0);
      for await (const part of rewriteTar(tar(), NAMES, () => Buffer.from('[2]'))) {
        passed += part.length;
        if (passed > header.length + size) end = Buffer.concat([end, part]);
      }
      assert.deepEqual(await contentsOf(end), { 'manifest.json': '[2]' }, format);
    }
  });
});

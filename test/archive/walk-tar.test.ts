import assert from 'node:assert/strict';
import { link, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { type TarEntry, walkTar } from '../../src/archive/walk-tar.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Lists the entries of a tar, and asserts that its bytes are unchanged. */
async function entriesOf(tar: Buffer, size: number): Promise<TarEntry[]> {
  const entries: TarEntry[] = [];
  const bytes: Buffer[] = [];
  for await (const part of walkTar(inPieces(tar, size))) {
    if (part.entry !== undefined) entries.push(part.entry);
    bytes.push(part.header, await part.take(7));
    for await (const chunk of part.pass()) bytes.push(chunk);
  }
  assert.deepEqual(Buffer.concat(bytes), tar);
  return entries;
}

suite('walking through a tar', { skip: skipUnless('tar') }, () => {
  const long = `${'d'.repeat(120)}/${'f'.repeat(120)}`;

  for (const format of ['v7', 'ustar', 'gnu', 'pax'])
    test(`yields files, folders, and links with their names from the format ${format}`, async () => {
      await using folder = await temporaryFolder();
      const inside = (name: string): string => join(folder.path, name);
      await mkdir(inside('a'));
      await writeFile(inside('a/file'), 'x'.repeat(600));
      await link(inside('a/file'), inside('hard'));
      await symlink('file', inside('a/beside'));
      await symlink('../hard', inside('a/above'));
      const names = ['./a/file', 'a/', 'hard', 'a/beside', 'a/above'];
      const isLong = format === 'gnu' || format === 'pax';
      if (isLong) {
        await mkdir(inside('d'.repeat(120)));
        await writeFile(inside(long), 'y');
        await symlink(long, inside('far'));
        names.push(long, 'far');
      }
      const tar = inside('out.tar');
      await runOrThrow('tar', [
        '-cf',
        tar,
        '--no-recursion',
        `--format=${format}`,
        '-C',
        folder.path,
        ...names,
      ]);
      const file = { type: 'file', target: undefined } as const;
      const to = (name: string, target: string): TarEntry => ({ name, type: 'link', target, size: 0 });
      for (const size of [1, 512, 10_000]) {
        assert.deepEqual(await entriesOf(await readFile(tar), size), [
          { name: 'a/file', size: 600, ...file },
          { name: 'a', type: 'other', target: undefined, size: 0 },
          to('hard', 'a/file'),
          to('a/beside', 'a/file'),
          to('a/above', 'hard'),
          ...(isLong ? [{ name: long, size: 1, ...file }, to('far', long)] : []),
        ]);
      }
    });

  test('joins a ustar name from its two fields', async () => {
    await using folder = await temporaryFolder();
    const name = `${'d'.repeat(90)}/${'f'.repeat(90)}`;
    await mkdir(join(folder.path, 'd'.repeat(90)));
    await writeFile(join(folder.path, name), '');
    const tar = join(folder.path, 'out.tar');
    await runOrThrow('tar', ['-cf', tar, '--format=ustar', '-C', folder.path, name]);
    const [entry] = await entriesOf(await readFile(tar), 512);
    assert.equal(entry?.name, name);
  });

  test('ends if the tar is truncated or is not a tar', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from('no tar'), Buffer.alloc(2000, 'x')])
      assert.deepEqual(await entriesOf(bytes, 100), []);
  });
});

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { suite, test } from 'node:test';
import { CommandError } from '../../src/cli/command-error.ts';
import {
  explainWriting,
  fillFiles,
  findPlace,
  type SavedFile,
  type Target,
  textOnly,
} from '../../src/cli/save-target.ts';
import { UsageError } from '../../src/config/loader.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const parts = [
  { name: 'one', size: 4, number: 1 },
  { name: 'two', size: 3, number: 2 },
];

/** Opens files that only record the calls. */
function noting(files: readonly SavedFile[], failing: Partial<Target> = {}) {
  const notes: string[] = [];
  const sink = fillFiles(files, async ({ name }) => ({
    write: async (chunks) =>
      void notes.push(`${name}: ${chunks.map((chunk) => Buffer.from(chunk)).join(' ')}`),
    commit: async () => void notes.push(`${name} is whole`),
    discard: async () => void notes.push(`${name} is discarded`),
    ...failing,
  }));
  return { sink, notes };
}

suite('files of a save', () => {
  test('are filled one after the other, regardless of chunk sizes', async () => {
    const { sink, notes } = noting(parts);
    for (const chunk of ['ab', 'cdef', 'g']) sink.write(chunk);
    sink.end();
    await finished(sink);
    assert.deepEqual(notes, ['one: ab', 'one: cd', 'one is whole', 'two: ef g', 'two is whole']);
  });

  test('receive all waiting chunks in one write', async () => {
    const { sink, notes } = noting([{ name: 'all', size: 5, number: undefined }]);
    for (const chunk of ['a', 'b', 'c', '', 'de']) sink.write(chunk);
    sink.end();
    await finished(sink);
    assert.deepEqual(notes, ['all: a', 'all: b c de', 'all is whole']);
  });

  test('receive more waiting chunks than a call can have arguments', async () => {
    const { sink, notes } = noting([{ name: 'all', size: undefined, number: undefined }]);
    for (let count = 0; count < 200_000; count++) sink.write('a');
    sink.end();
    await finished(sink);
    assert.equal(notes[1]?.length, 'all: '.length + 199_999 * 2 - 1);
  });

  test('ignore an empty chunk after the last byte', async () => {
    const { sink, notes } = noting(parts);
    await new Promise((resolve) => sink.write('abcdefg', resolve));
    sink.write('');
    sink.end();
    await finished(sink);
    assert.deepEqual(notes, ['one: abcd', 'one is whole', 'two: efg', 'two is whole']);
  });

  test('take the whole stream if there is a single file, even an empty stream', async () => {
    for (const [chunks, expected] of [
      [['abcdef'], ['all: abcdef', 'all is whole']],
      [[], ['all is whole']],
    ]) {
      const { sink, notes } = noting([{ name: 'all', size: 3, number: undefined }]);
      for (const chunk of chunks ?? []) sink.write(chunk);
      sink.end();
      await finished(sink);
      assert.deepEqual(notes, expected);
    }
  });

  test('are discarded if the stream breaks off, except complete ones', async () => {
    const { sink, notes } = noting(parts);
    await new Promise((resolve) => sink.write('abcde', resolve));
    sink.destroy();
    await assert.rejects(finished(sink));
    assert.deepEqual(notes.slice(-3), ['one is whole', 'two: e', 'two is discarded']);
  });

  test('are discarded if the stream breaks off while they are opened', async () => {
    const opened = Promise.withResolvers<Target>();
    const discarded = Promise.withResolvers<void>();
    const sink = fillFiles(parts, () => opened.promise);
    sink.write('ab');
    sink.destroy();
    const ignore = async (): Promise<void> => {};
    opened.resolve({ write: ignore, commit: ignore, discard: async () => discarded.resolve() });
    await assert.rejects(finished(sink));
    await discarded.promise;
  });

  test('are discarded if they cannot be renamed', async () => {
    const commit = () => Promise.reject(new Error('EROFS'));
    const { sink, notes } = noting(parts, { commit });
    sink.end('abc');
    await assert.rejects(finished(sink), /EROFS/);
    assert.deepEqual(notes, ['one: abc', 'one is discarded']);
  });

  test('refuse more bytes than they can hold', async () => {
    const { sink } = noting(parts);
    sink.end('abcdefgh');
    await assert.rejects(finished(sink), RangeError);
  });
});

suite('the place of an archive', () => {
  test('is named after the archive in a folder, and tells that it exists', async () => {
    await using folder = await temporaryFolder();
    const name = join(folder.path, 'a.tar');
    assert.deepEqual(await findPlace(folder.path, 'a.tar'), { name, kind: 'file', exists: false });
    await writeFile(name, '');
    assert.deepEqual(await findPlace(folder.path, 'a.tar'), { name, kind: 'file', exists: true });
    assert.deepEqual(await findPlace(name, 'b.tar'), { name, kind: 'file', exists: true });
  });

  for (const output of ['none/a.tar', 'none/'])
    test(`is refused before the download if its folder does not exist: ${output}`, async () => {
      await using folder = await temporaryFolder();
      const given = join(folder.path, output);
      await assert.rejects(findPlace(given, 'a.tar'), (error) => {
        assert.ok(error instanceof CommandError);
        assert.match(
          error.message,
          /^The folder \S+\/none\/? does not exist\. Create it, or choose another one with -o\.$/,
        );
        return true;
      });
    });
});

test('a folder that is a file is refused before the download', async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'file');
  await writeFile(file, '');
  await assert.rejects(
    findPlace(join(file, 'a.tar'), 'a.tar'),
    new CommandError(`${file} is not a folder. Choose another one with -o.`),
  );
});

test('a terminal gets text, but no binary data', async () => {
  const written: string[] = [];
  const write = async (chunks: readonly Uint8Array[]): Promise<void> => void written.push(chunks.join(''));
  const target = textOnly({ write, commit: async () => {}, discard: async () => {} });
  await target.write([Buffer.from('größe\n')]);
  await assert.rejects(
    target.write([Buffer.from('\x7fELF\0')]),
    new UsageError(['Refusing to write binary data to the terminal. Use a pipe, or > FILE.']),
  );
  assert.deepEqual(written, ['größe\n']);
});

suite('a file that cannot be written', () => {
  for (const [code, sentence] of [
    ['ENOENT', 'The folder out does not exist. Create it, or choose another one with -o.'],
    ['ENOTDIR', 'out is not a folder. Choose another one with -o.'],
    [
      'ENOSPC',
      'The disk is full, so out/a.tar is incomplete. Free some space, or choose another folder with -o.',
    ],
    [
      'EDQUOT',
      'Your disk quota is full, so out/a.tar is incomplete. Free some space, or choose another folder with -o.',
    ],
    ['EFBIG', 'out/a.tar is too large for its file system. Split it, for example with --parts 2GiB.'],
    ['EACCES', 'You do not have permission to write out/a.tar. Choose another folder with -o.'],
    ['EROFS', 'out/a.tar is on a read-only file system. Choose another folder with -o.'],
    ['EIO', 'out/a.tar cannot be written: EIO: i/o.'],
  ] as const)
    test(`has a sentence for ${code}`, () => {
      const error = Object.assign(new Error(`${code}: i/o`), { code, syscall: 'write' });
      const explained = explainWriting('out/a.tar', error);
      assert.ok(explained instanceof CommandError);
      assert.equal(explained.message, sentence);
    });
});

import assert from 'node:assert/strict';
import { finished } from 'node:stream/promises';
import { suite, test } from 'node:test';
import { fillFiles, type SavedFile, type Target } from '../../src/cli/save-target.ts';

const parts = [
  { name: 'one', size: 4, number: 1 },
  { name: 'two', size: 3, number: 2 },
];

/** Opens files that only record the calls. */
function noting(files: readonly SavedFile[], failing: Partial<Target> = {}) {
  const notes: string[] = [];
  const sink = fillFiles(files, async ({ name }) => ({
    write: async (chunk) => void notes.push(`${name}: ${Buffer.from(chunk)}`),
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
    assert.deepEqual(notes, ['one: ab', 'one: cd', 'one is whole', 'two: ef', 'two: g', 'two is whole']);
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

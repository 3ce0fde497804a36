import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { tryLock } from '../../src/blobs/file-lock.ts';
import { run, runOrThrow, spawnUntil } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const source = join(import.meta.dirname, '..', '..', 'src', 'blobs', 'file-lock.ts');
const script = (body: string): string[] => [
  '--input-type=module-typescript',
  '--disable-warning=ExperimentalWarning',
  '--eval',
  `import { tryLock } from ${JSON.stringify(source)};\nconst path = process.argv[1];\n${body}`,
];
const tryIt = script("console.log(tryLock(path) === undefined ? 'refused' : 'locked');");
const holdIt = script(
  // The garbage collector would release a lock without a reference.
  "globalThis.kept = tryLock(path);\nconsole.log(kept === undefined ? 'refused' : 'locked');\nsetInterval(() => {}, 1000);",
);

/** Returns the result of an attempt by another process. */
const elsewhere = async (path: string): Promise<string> =>
  (await runOrThrow(process.execPath, [...tryIt, path])).stdout.trim();

const hook = join(import.meta.dirname, '..', 'support', 'other-platform.ts');
const holdTwice = script(
  "globalThis.kept = tryLock(path);\nconsole.log(kept !== undefined && tryLock(path) === undefined ? 'locked once' : 'wrong');\nsetInterval(() => {}, 1000);",
);
const lockAndRelease = script(
  "tryLock(path)[Symbol.dispose]();\nconst next = tryLock(path);\nnext[Symbol.dispose]();\nconsole.log('released');",
);

suite('a lock of a file on other systems', () => {
  for (const platform of ['darwin', 'win32']) {
    const env = { PATH: process.env.PATH, PLATFORM: platform };
    test(`is held by one process on ${platform}, which does not release it by another try`, async () => {
      await using folder = await temporaryFolder();
      const path = join(folder.path, 'lock');
      await using holder = await spawnUntil(
        process.execPath,
        ['--import', hook, ...holdTwice, path],
        ({ stdout }) => stdout() !== '',
        { env },
      );
      assert.equal(holder.stdout(), 'locked once\n');
      assert.equal(await elsewhere(path), 'refused');
    });

    test(`is removed by its release on ${platform}`, async () => {
      await using folder = await temporaryFolder();
      const args = ['--import', hook, ...lockAndRelease, join(folder.path, 'lock')];
      assert.equal((await runOrThrow(process.execPath, args, { env })).stdout, 'released\n');
      assert.deepEqual(await readdir(folder.path), []);
    });
  }
});

suite('a lock of a file', () => {
  test('is held by one, and by the next after its release', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'lock');
    const lock = tryLock(path);
    assert.ok(lock);
    assert.equal(tryLock(path), undefined);
    lock[Symbol.dispose]();
    const next = tryLock(path);
    assert.ok(next);
    next[Symbol.dispose]();
  });

  test('leaves no file behind', async () => {
    await using folder = await temporaryFolder();
    const lock = tryLock(join(folder.path, 'lock'));
    assert.ok((await readdir(folder.path)).includes('lock'));
    lock?.[Symbol.dispose]();
    assert.deepEqual(await readdir(folder.path), []);
  });

  test('keeps other processes out, for as long as it is held', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'lock');
    const lock = tryLock(path);
    assert.equal(await elsewhere(path), 'refused');
    lock?.[Symbol.dispose]();
    assert.equal(await elsewhere(path), 'locked');
  });

  test('stays held while another caller in the process tries', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'lock');
    const lock = tryLock(path);
    assert.equal(tryLock(path), undefined);
    assert.equal(await elsewhere(path), 'refused');
    lock?.[Symbol.dispose]();
  });

  test('is free again when its holder is killed', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'lock');
    await using holder = await spawnUntil(process.execPath, [...holdIt, path], ({ stdout }) =>
      stdout().includes('\n'),
    );
    assert.equal(holder.stdout().trim(), 'locked');
    assert.equal(tryLock(path), undefined);
    await holder.stop('SIGKILL');
    assert.ok(existsSync(path), 'nobody removed it');
    const lock = tryLock(path);
    assert.ok(lock);
    lock[Symbol.dispose]();
    assert.deepEqual(await readdir(folder.path), []);
  });

  test('is held by one at a time, whoever else wants it and however often', async () => {
    await using folder = await temporaryFolder();
    // A file that is created exclusively detects two owners at once.
    const contend = script(`
      import { closeSync, openSync, rmSync } from 'node:fs';
      for (let times = 0; times < 50; ) {
        const lock = tryLock(path);
        if (lock === undefined) continue;
        closeSync(openSync(path + '.held', 'wx'));
        rmSync(path + '.held');
        times += 1;
        lock[Symbol.dispose]();
      }
    `);
    const path = join(folder.path, 'lock');
    const results = await Promise.all([1, 2, 3].map(() => run(process.execPath, [...contend, path])));
    for (const { code, stderr } of results) assert.equal(code, 0, stderr);
    const lock = tryLock(path);
    assert.ok(lock, 'nobody holds it any more');
    lock[Symbol.dispose]();
  });

  test('without its file goes to the next caller', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'lock');
    writeFileSync(path, '');
    const lock = tryLock(path);
    assert.ok(lock);
    lock[Symbol.dispose]();
    await waitFor(() => !existsSync(path));
  });

  test('fails if the file cannot be created', async () => {
    await using folder = await temporaryFolder();
    assert.throws(() => tryLock(join(folder.path, 'missing', 'lock')), { code: 'ENOENT' });
  });

  test('takes no notice of what stands in its file', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'lock');
    writeFileSync(path, 'x'.repeat(4096));
    const lock = tryLock(path);
    assert.ok(lock);
    lock[Symbol.dispose]();
  });
});

import assert from 'node:assert/strict';
import { chmod, lchown, mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { runOrThrow } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const program = join(import.meta.dirname, '..', '..', 'bin', 'dockerproxy.js');

async function start(home: string, variables: NodeJS.ProcessEnv = {}): Promise<string> {
  const env = { PATH: process.env.PATH, HOME: home, ...variables };
  return (await runOrThrow(process.execPath, [program, '--version'], { env })).stdout;
}

suite('compiled code', { timeout: 120_000 }, () => {
  test('is stored for the next start, readable by its user alone', async () => {
    await using home = await temporaryFolder();
    await start(home.path);
    const folder = join(home.path, '.cache', 'dockerproxy-code');
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    assert.equal((await readdir(folder)).length, 1);
    assert.match(await start(home.path), /^\d/);
  });

  test('is stored in XDG_CACHE_HOME', async () => {
    await using home = await temporaryFolder();
    await start(home.path, { XDG_CACHE_HOME: join(home.path, 'cache') });
    assert.equal((await readdir(join(home.path, 'cache', 'dockerproxy-code'))).length, 1);
  });

  test('is stored behind a symbolic link, as systemd creates for a dynamic user', async () => {
    await using home = await temporaryFolder();
    const target = join(home.path, 'private');
    await mkdir(join(home.path, '.cache'));
    await mkdir(target, { mode: 0o700 });
    await symlink(target, join(home.path, '.cache', 'dockerproxy-code'));
    // systemd's link belongs to root, and its target to the dynamic user.
    if (process.getuid?.() === 0) await lchown(join(home.path, '.cache', 'dockerproxy-code'), 1, 1);
    await start(home.path);
    assert.equal((await readdir(target)).length, 1);
  });

  test('is not stored in a folder that others can change', async () => {
    await using home = await temporaryFolder();
    const folder = join(home.path, '.cache', 'dockerproxy-code');
    await mkdir(folder, { recursive: true });
    await chmod(folder, 0o777);
    assert.match(await start(home.path), /^\d/);
    assert.deepEqual(await readdir(folder), []);
  });

  test('is optional: the program starts without a writable folder', async () => {
    await using home = await temporaryFolder();
    await writeFile(join(home.path, '.cache'), 'a file');
    assert.match(await start(home.path), /^\d/);
  });
});

import assert from 'node:assert/strict';
import { readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { removeUnfinished, replaceFile } from '../../src/util/atomic-file.ts';
import { run } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** Writes a file in a process that is killed before the rename. */
function killedWriter(path: string): string {
  const module = new URL('../../src/util/atomic-file.ts', import.meta.url).href;
  return `
    import files from 'node:fs/promises';
    import { syncBuiltinESMExports } from 'node:module';
    files.rename = () => process.kill(process.pid, 'SIGKILL');
    syncBuiltinESMExports();
    const { replaceFile } = await import(${JSON.stringify(module)});
    await replaceFile(${JSON.stringify(path)}, 'new');
  `;
}

suite('files that are written whole or not at all', { timeout: 600_000 }, () => {
  test('removes the old files of killed writers, and no others', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'state', 'certificate.pem');
    const names = async (): Promise<string[]> => (await readdir(join(folder.path, 'state'))).sort();
    await replaceFile(path, 'old');
    await run(process.execPath, ['--input-type=module', '-e', killedWriter(path)]);
    const [, unfinished = ''] = await names();
    assert.match(unfinished, /^certificate\.pem\../);
    assert.equal(await readFile(path, 'utf8'), 'old');

    await writeFile(`${path}.damaged`, '');
    const { mtimeMs } = await stat(join(folder.path, 'state', unfinished));
    for (const name of await names()) await utimes(join(folder.path, 'state', name), 0, mtimeMs / 1000);
    await removeUnfinished(folder.path, mtimeMs - 1000);
    assert.equal((await names()).length, 3);
    await removeUnfinished(folder.path, mtimeMs + 1000);
    assert.deepEqual(await names(), ['certificate.pem', 'certificate.pem.damaged']);
  });

  test('a folder that is not there has nothing to remove', async () => {
    await using folder = await temporaryFolder();
    await removeUnfinished(join(folder.path, 'none'), Date.now());
  });
});

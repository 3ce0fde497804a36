import { cp, mkdir, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findCommand, runOrThrow } from './process.ts';
import { removeTree } from './temporary-folder.ts';

const repository = join(import.meta.dirname, '..', '..');

/**
 * Fills a folder for a machine without network access: this machine's Node.js (`node`) and npm (`npm`). The folder
 * `cache` has everything that this program needs to run.
 */
export async function makeOfflineNpm(folder: string): Promise<void> {
  const npm = dirname(dirname(await realpath(findCommand('npm') ?? 'npm')));
  const project = join(folder, 'project');
  await mkdir(project);
  for (const part of ['package.json', 'package-lock.json', 'vendor']) {
    await cp(join(repository, part), join(project, part), { recursive: true });
  }
  const flags = ['--omit=dev', '--no-audit', '--no-fund', '--silent', `--cache=${join(folder, 'cache')}`];
  await runOrThrow('npm', ['ci', ...flags], { cwd: project, timeout: 240_000 });
  await removeTree(project);
  await cp(npm, join(folder, 'npm'), { recursive: true });
  await cp(process.execPath, join(folder, 'node'));
}

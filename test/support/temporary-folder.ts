import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './process.ts';

export interface TemporaryFolder extends AsyncDisposable {
  path: string;
}

export const temporaryPrefix = 'dockerproxy-test-';

/**
 * Creates a temporary folder. Its disposal also unmounts everything that a container engine left mounted in it. The
 * name contains the ID of this process, so that `removeAbandonedFolders` finds the folders of killed processes.
 */
export async function temporaryFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), `${temporaryPrefix}${process.pid}-`));
  return { path, [Symbol.asyncDispose]: () => removeTree(path) };
}

/** Removes a folder and its content. Unmounts first, because mounted files can belong to others. */
export async function removeTree(path: string): Promise<void> {
  for (const mount of (await mountsBelow(path)).reverse()) await run('umount', ['-l', mount]);
  await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}

async function mountsBelow(path: string): Promise<string[]> {
  const table = await readFile('/proc/self/mounts', 'utf8').catch(() => '');
  const points = table.split('\n').map((line) => line.split(' ')[1] ?? '');
  return points.filter((point) => point.startsWith(`${path}/`));
}

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './process.ts';

export interface TemporaryFolder extends AsyncDisposable {
  path: string;
}

export const temporaryPrefix = 'dockerproxy-test-';

/**
 * A new folder of our own; disposal also detaches whatever a container engine left mounted below it. Its name
 * carries our pid, so that `removeAbandonedFolders` knows whose it was if we are killed.
 */
export async function temporaryFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), `${temporaryPrefix}${process.pid}-`));
  return { path, [Symbol.asyncDispose]: () => removeTree(path) };
}

/** Removes a folder with all in it, mounts first: what is mounted there may be someone else's files. */
export async function removeTree(path: string): Promise<void> {
  for (const mount of (await mountsBelow(path)).reverse()) await run('umount', ['-l', mount]);
  await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}

async function mountsBelow(path: string): Promise<string[]> {
  const table = await readFile('/proc/self/mounts', 'utf8').catch(() => '');
  const points = table.split('\n').map((line) => line.split(' ')[1] ?? '');
  return points.filter((point) => point.startsWith(`${path}/`));
}

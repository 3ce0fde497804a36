import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createLocks, type Locks } from '../util/lock.ts';
import { tryLock } from './file-lock.ts';

/**
 * Locks of all processes that share a folder, as files: `turns/0c1d….lock`.
 *
 * @param now a monotonic clock, in milliseconds
 */
export function createFolderLocks(folder: string, now: () => number): Locks {
  const locks = join(folder, 'turns');
  return createLocks(async (name) => {
    await mkdir(locks, { recursive: true, mode: 0o700 });
    return tryLock(join(locks, `${createHash('sha256').update(name).digest('hex')}.lock`));
  }, now);
}

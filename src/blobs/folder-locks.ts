import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createLocks, type Locks } from '../util/lock.ts';
import { tryLock } from './file-lock.ts';

/**
 * Locks of all processes that share a folder: `turns/0c1d….lock` is held by whose turn it is.
 *
 * @param now milliseconds that never go back
 */
export function createFolderLocks(folder: string, now: () => number): Locks {
  const locks = join(folder, 'turns');
  return createLocks(async (name) => {
    await mkdir(locks, { recursive: true, mode: 0o700 });
    const lock = tryLock(join(locks, `${createHash('sha256').update(name).digest('hex')}.lock`));
    return lock && (() => lock.release());
  }, now);
}

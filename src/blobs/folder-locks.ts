import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createTurns, type Turns } from '../util/lock.ts';
import { tryLock } from './file-lock.ts';

/**
 * Turns of all processes that share a folder: `turns/0c1d….lock` is held by whose turn it is.
 *
 * @param now milliseconds that never go back
 */
export function createFileTurns(folder: string, now: () => number): Turns {
  const locks = join(folder, 'turns');
  return createTurns(async (name) => {
    await mkdir(locks, { recursive: true, mode: 0o700 });
    const lock = tryLock(join(locks, `${createHash('sha256').update(name).digest('hex')}.lock`));
    return lock && (() => lock.release());
  }, now);
}

import { closeSync, openSync, rmSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/** A lock that the kernel takes back when its process dies, however that happens. */
export interface FileLock {
  /** Gives the lock back and removes its file. */
  release(): void;
}

/**
 * Locks a file, which is made where it is missing; undefined where somebody else, in this process or another, holds
 * the lock. Never waits.
 *
 * Node has no flock(2), but SQLite locks its files by fcntl(2), and does so without writing a byte to them.
 *
 * @see https://www.sqlite.org/lockingv3.html
 */
export function tryLock(path: string): FileLock | undefined {
  makeMissing(path);
  const before = inode(path);
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    // With its journal in memory it works on a disk that is full, too.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    // The last holder removed its file while we opened it: what is locked now has no name any more.
    if (before !== undefined && inode(path) === before) return { release: () => release(path, database) };
  } catch (error) {
    // SQLite takes a file that is removed under it for a broken disk.
    if (!isBusy(error) && inode(path) === before) {
      database.close();
      throw error;
    }
  }
  database.close();
  return undefined;
}

function release(path: string, database: DatabaseSync): void {
  rmSync(path, { force: true });
  database.close();
}

/** A file that is there is not opened: closing it would give back the lock that this process may have, see fcntl(2). */
function makeMissing(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}

function inode(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

/** https://www.sqlite.org/rescode.html#busy */
const SQLITE_BUSY = 5;

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY;
}

import { closeSync, fstatSync, openSync, rmSync, statSync } from 'node:fs';
import { platform } from 'node:os';
import { DatabaseSync } from 'node:sqlite';

/**
 * Locks a file until the returned object is disposed, which removes the file. Creates the file if necessary. Returns
 * undefined at once if this process or another one has the lock. The kernel releases the lock of a process that dies.
 *
 * Node has no flock(2), but SQLite locks its files by fcntl(2), and does so without writing a byte to them.
 *
 * @see https://www.sqlite.org/lockingv3.html
 */
export function tryLock(path: string): Disposable | undefined {
  if (platform() !== 'linux') return tryLockByPath(path);
  makeMissing(path);
  const named = openNamed(path);
  if (named === undefined) return undefined;
  try {
    return lockNamed(path, () => inode(path) === fstatSync(named).ino);
  } finally {
    closeSync(named);
  }
}

/**
 * Locks a file on other systems. Without O_PATH, closing another descriptor of the file would release its lock. This
 * process therefore never opens a file that it has locked.
 */
function tryLockByPath(path: string): Disposable | undefined {
  if (held.has(path)) return undefined;
  makeMissing(path);
  const named = inode(path);
  const lock = named === undefined ? undefined : lockNamed(path, () => inode(path) === named);
  if (lock === undefined) return undefined;
  held.add(path);
  return {
    [Symbol.dispose]() {
      held.delete(path);
      lock[Symbol.dispose]();
    },
  };
}

/** @param isNamed tells whether the path still names the opened file, which the previous owner may have removed */
function lockNamed(path: string, isNamed: () => boolean): Disposable | undefined {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    // With its journal in memory it works on a disk that is full, too.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    if (isNamed()) {
      return {
        [Symbol.dispose]() {
          // Windows cannot remove an open file. If another process has opened it meanwhile, the file stays.
          if (platform() === 'win32') database.close();
          removeUnlessOpen(path);
          if (platform() !== 'win32') database.close();
        },
      };
    }
  } catch (error) {
    database.close();
    if (hasSqliteCode(error, SQLITE_NOTADB)) {
      // The path names something that is not a file.
      rmSync(path, { force: true });
      return tryLock(path);
    }
    // SQLite reports a file that was removed while open as a disk error.
    if (hasSqliteCode(error, SQLITE_BUSY) || !isNamed()) return undefined;
    throw error;
  }
  database.close();
  return undefined;
}

function removeUnlessOpen(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch (error) {
    if (!hasCode(error, 'EBUSY') && !hasCode(error, 'EPERM')) throw error;
  }
}

/** Does not open an existing file: closing it would release the lock that this process may have, see fcntl(2). */
function makeMissing(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
}

/** The paths that this process has locked, for systems without {@link O_PATH}. */
const held = new Set<string>();

/** open(2): a descriptor that keeps the inode from being used again, and gives no lock back when it is closed. */
const O_PATH = 0o10000000;

function openNamed(path: string): number | undefined {
  try {
    return openSync(path, O_PATH);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

function inode(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

// https://www.sqlite.org/rescode.html
const SQLITE_BUSY = 5;
const SQLITE_NOTADB = 26;

function hasSqliteCode(error: unknown, code: number): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === code;
}

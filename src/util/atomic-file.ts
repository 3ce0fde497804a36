import { randomUUID } from 'node:crypto';
import { chown, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface ReplaceOptions {
  /** True if the file must survive a loss of power; false for reproducible content. */
  readonly isDurable?: boolean;
  /** The owner of the file and of a new folder, if root writes for another user. */
  readonly owner?: FileOwner | undefined;
}

export interface FileOwner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Writes a file atomically, also during concurrent writes. Only its user can read it. Creates the folder if necessary.
 */
export async function replaceFile(
  path: string,
  content: string | Uint8Array,
  { isDurable = false, owner }: ReplaceOptions = {},
): Promise<void> {
  const temporary = `${path}.${randomUUID()}`;
  const made = await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  if (owner !== undefined && made !== undefined) await chown(made, owner.uid, owner.gid);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content);
      if (owner !== undefined) await file.chown(owner.uid, owner.gid);
      if (isDurable) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  if (isDurable) await syncFolder(dirname(path));
}

/** The name of an incomplete file: its final name, a dot, and a UUID. */
const UNFINISHED = /\.[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/;

/**
 * Removes incomplete files of killed writers from a folder and its subfolders.
 *
 * @param before removes only files older than this; milliseconds since the epoch
 */
export async function removeUnfinished(folder: string, before: number): Promise<void> {
  for (const name of await readdir(folder, { recursive: true }).catch(() => [])) {
    if (!UNFINISHED.test(name)) continue;
    const path = join(folder, name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: before }));
    if (mtimeMs < before) await rm(path, { force: true });
  }
}

/** The folder contains the name, so sync the folder, too. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

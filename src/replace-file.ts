import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface ReplaceOptions {
  /** Whether the file must be there after a loss of power; what can be had again need not. */
  readonly isDurable?: boolean;
}

/** Writes a file whole or not at all, whoever else writes the same, for its user alone; makes its folder. */
export async function replaceFile(
  path: string,
  content: string | Uint8Array,
  { isDurable = false }: ReplaceOptions = {},
): Promise<void> {
  const temporary = `${path}.${randomUUID()}`;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content);
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

/** The name is in the folder, which is on the disk once it was synced. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

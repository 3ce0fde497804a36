import { type FileHandle, stat } from 'node:fs/promises';
import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isUsable, openExisting } from './blob-files.ts';

/** Opens the file of an earlier fetch, or of another process; undefined if it cannot be continued. */
export async function openIncoming(path: string, blob: Descriptor): Promise<FileHandle | undefined> {
  const file = await openExisting(path);
  if (file === undefined) return undefined;
  if (isUsable(blob, await file.stat())) return file;
  await file.close();
  return undefined;
}

/** Checks whether a path still names an open file; undefined if no file has this path. */
export async function isStillAt(path: string, file: FileHandle): Promise<boolean | undefined> {
  const now = await stat(path).catch(() => undefined);
  return now && now.ino === (await file.stat()).ino;
}

/** The error of readers whose file another process has replaced: their bytes may be wrong. */
export function restarted({ digest }: Descriptor): ServiceError {
  return new ServiceError('content-mismatch', detail('fetch-restarted', { digest }));
}

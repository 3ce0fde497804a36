import { constants } from 'node:fs';
import { open, readFile } from 'node:fs/promises';

/** How many bytes a folder holds, as all processes that use it have added them up. */
export interface DiskUsage {
  readonly bytes: number;
  /** When the files themselves were counted, in milliseconds since the epoch. */
  readonly counted: number;
}

/** Bytes of the file: always as many, so that a full disk has room for it once it is there. */
const LENGTH = 64;

/** Reads what was written last; undefined where that was nothing, or cannot be understood. */
export async function readDiskUsage(path: string): Promise<DiskUsage | undefined> {
  const content = await readFile(path, 'utf8').catch(() => '');
  const [, bytes, counted] = /^(\d+) (\d+) *\n$/.exec(content) ?? [];
  return counted === undefined ? undefined : { bytes: Number(bytes), counted: Number(counted) };
}

export async function writeDiskUsage(path: string, { bytes, counted }: DiskUsage): Promise<void> {
  const file = await open(path, constants.O_WRONLY | constants.O_CREAT, 0o600);
  try {
    await file.write(`${Math.max(bytes, 0)} ${counted}`.padEnd(LENGTH - 1).concat('\n'), 0);
  } finally {
    await file.close();
  }
}

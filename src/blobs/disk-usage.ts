import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';

/** The number of bytes in a folder, which all processes that use it update. */
export interface DiskUsage {
  readonly bytes: number;
  /** The time at which the files were measured, in milliseconds since the epoch. */
  readonly counted: number;
}

/** Bytes of the file. The length is fixed, so that an existing file can be updated on a full disk. */
const LENGTH = 64;

/**
 * Reads the last written usage; undefined if it is missing or invalid.
 *
 * This and {@link writeDiskUsage} block for microseconds. A promise would take a turn of the event loop, which can last
 * 100 ms under load, while no other process gets the lock.
 */
export function readDiskUsage(path: string): DiskUsage | undefined {
  const [, bytes, counted] = /^(\d+) (\d+) *\n$/.exec(readText(path)) ?? [];
  return counted === undefined ? undefined : { bytes: Number(bytes), counted: Number(counted) };
}

export function writeDiskUsage(path: string, { bytes, counted }: DiskUsage): void {
  const file = openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o600);
  try {
    writeSync(file, `${Math.max(bytes, 0)} ${counted}`.padEnd(LENGTH - 1).concat('\n'), 0);
  } finally {
    closeSync(file);
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

import type { ByteRange } from '../oci/descriptor.ts';

/** How a file is cut into parts that, one after the other, are the file again. */
export interface Partition {
  /** Bytes of the whole file. */
  readonly size: number;
  /** Bytes of each part but the last, which has what is left. */
  readonly partSize: number;
  readonly count: number;
}

/** What tar counts in: parts begin where entries may. */
const BLOCK = 512;

/** A file that is in one piece. */
export function unparted(size: number): Partition {
  return { size, partSize: size, count: 1 };
}

/**
 * Cuts a file into parts that are each smaller than `limit` bytes: the largest file of a FAT32 file system is one byte
 * smaller than 4 GiB.
 */
export function partition(size: number, limit: number): Partition {
  const partSize = Math.max(Math.floor((limit - 1) / BLOCK), 1) * BLOCK;
  return { size, partSize, count: Math.max(Math.ceil(size / partSize), 1) };
}

/** Where a part lies in the file. The first part is 1. */
export function partRange({ size, partSize }: Partition, number: number): ByteRange {
  return { start: (number - 1) * partSize, end: Math.min(number * partSize, size) };
}

/** The name of a part: `app.tar.part02of05`. Names sort as the parts follow each other, so that `cat app.tar.part*` is the file. */
export function partFilename(filename: string, number: number, { count }: Partition): string {
  const width = Math.max(`${count}`.length, 2);
  return `${filename}.part${`${number}`.padStart(width, '0')}of${`${count}`.padStart(width, '0')}`;
}

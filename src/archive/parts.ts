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

/** Bytes of a piece at least. */
const PIECE_MIN = 2 ** 20;
/** So that a list of them stays small. */
const PIECES_MAX = 2000;

/**
 * How a file is hashed in one pass: whole and, where it has several, in pieces of a power of two bytes, by which a
 * damaged one can be mended.
 *
 * @param all bytes of the file and all others on the same list, as parts of an archive are
 */
export function hashedAs(size: number, all = size): readonly [whole: Partition, ...pieces: Partition[]] {
  let partSize = PIECE_MIN;
  while (all > partSize * PIECES_MAX) partSize *= 2;
  const whole = unparted(size);
  return size <= partSize ? [whole] : [whole, { size, partSize, count: Math.ceil(size / partSize) }];
}

/** Where a part lies in the file. The first part is 1. */
export function partRange({ size, partSize }: Partition, number: number): ByteRange {
  return { start: (number - 1) * partSize, end: Math.min(number * partSize, size) };
}

/**
 * The name of a part: `app.tar.part02of05`. Names sort as the parts follow each other, so that `cat app.tar.part*of05` is the
 * file, whatever lies beside them.
 */
export function partFilename(filename: string, number: number, { count }: Partition): string {
  const width = Math.max(`${count}`.length, 2);
  return `${filename}.part${`${number}`.padStart(width, '0')}of${`${count}`.padStart(width, '0')}`;
}

/**
 * What a list of all parts is named after: `app.tar.5-parts`, which is no name of the file, of one of its parts, or of parts
 * of another size, and nothing that `app.tar.part*` finds. A single part needs no list.
 */
export function partsFilename(filename: string, partition: Partition): string {
  return partition.count === 1
    ? partFilename(filename, 1, partition)
    : `${filename}.${partition.count}-parts`;
}

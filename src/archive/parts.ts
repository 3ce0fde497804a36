import type { ByteRange } from '../oci/descriptor.ts';

/** How a file is cut into parts that, one after the other, are the file again. */
export interface Partition {
  /** Bytes of the whole file. */
  readonly size: number;
  /** Bytes of each part but the last, which has what is left. */
  readonly partSize: number;
  readonly count: number;
}

/** The block size of tar; parts begin at block boundaries. */
const BLOCK = 512;

/** A file that is in one piece. */
export function unparted(size: number): Partition {
  return { size, partSize: size, count: 1 };
}

/**
 * Cuts a file into parts that are each smaller than `limit` bytes, because the largest file of FAT32 is one byte
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
 * The hashes of a file in one pass: of the whole and, for large files, of pieces. A piece has a power of two bytes, so
 * that a client can repair a damaged one.
 *
 * @param all bytes of the file and all others on the same list, as parts of an archive are
 */
export function hashedAs(size: number, all = size): readonly [whole: Partition, ...pieces: Partition[]] {
  let partSize = PIECE_MIN;
  while (all > partSize * PIECES_MAX) partSize *= 2;
  const whole = unparted(size);
  return size <= partSize ? [whole] : [whole, { size, partSize, count: Math.ceil(size / partSize) }];
}

/** Returns the range of a part in the file. The first part is 1. */
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
 * Names the list of all parts: `app.tar.5-parts`. The name differs from those of the file, its parts, and parts of
 * another size, and `app.tar.part*` does not match it. A single part needs no list.
 */
export function partsFilename(filename: string, partition: Partition): string {
  return partition.count === 1
    ? partFilename(filename, 1, partition)
    : `${filename}.${partition.count}-parts`;
}

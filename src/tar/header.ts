import { detail } from '../errors/details.ts';
import { MalformedTar } from './malformed-tar.ts';

/** Bytes of a block, the unit of a tar archive. */
export const BLOCK = 512;

/** The fields of one 512-byte header block. Texts are bytes as Latin-1, because names need not be UTF-8. */
export interface RawHeader {
  readonly type: string;
  readonly name: string;
  readonly link: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes. */
  readonly size: number;
  /** Seconds since the epoch. */
  readonly mtime: number;
  readonly devMajor: number;
  readonly devMinor: number;
}

/**
 * Reads a header block in v7, ustar, PAX, GNU, or star format, as Go's archive/tar does, which container engines use.
 *
 * @throws MalformedTar if the checksum or a number is wrong
 * @see https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html
 * @see https://www.gnu.org/software/tar/manual/html_node/Standard.html
 */
export function readHeader(block: Buffer): RawHeader {
  if (!hasChecksum(block)) throw new MalformedTar(detail('tar-header', {}));
  const format = formatOf(block);
  const base = textAt(block, 0, 100);
  const prefix = prefixOf(block, format);
  const hasDevices = format !== 'v7';
  return {
    type: String.fromCharCode(block[156] ?? 0),
    name: prefix === '' ? base : `${prefix}/${base}`,
    link: textAt(block, 157, 100),
    mode: numberAt(block, 100, 8),
    uid: numberAt(block, 108, 8),
    gid: numberAt(block, 116, 8),
    size: sizeAt(block, 124),
    mtime: numberAt(block, 136, 12),
    devMajor: hasDevices ? numberAt(block, 329, 8) : 0,
    devMinor: hasDevices ? numberAt(block, 337, 8) : 0,
  };
}

/** Tells whether a block has only zeros. Two such blocks end an archive. */
export function isZeroBlock(block: Buffer): boolean {
  return block[0] === 0 && block.every((byte) => byte === 0);
}

/** Reads a text field up to its first zero byte, as Latin-1. */
export function textAt(block: Buffer, start: number, length: number): string {
  // Most links and prefixes are empty.
  if (block[start] === 0) return '';
  const end = block.indexOf(0, start);
  return block.toString('latin1', start, end === -1 ? start + length : Math.min(end, start + length));
}

/**
 * Reads a number in octal, or in the base-256 form that GNU tar introduced.
 *
 * @throws MalformedTar if it is neither, or exceeds 2^53
 */
export function numberAt(block: Buffer, start: number, length: number): number {
  const first = block[start] ?? 0;
  const value = (first & 0x80) === 0 ? octalAt(block, start, length) : binaryAt(block, start, length);
  if (!Number.isSafeInteger(value)) throw new MalformedTar(detail('tar-header', {}));
  return value;
}

/** Reads a number of bytes. @throws MalformedTar as {@link numberAt} does, and if it is negative */
export function sizeAt(block: Buffer, start: number): number {
  const size = numberAt(block, start, 12);
  if (size < 0) throw new MalformedTar(detail('tar-header', {}));
  return size;
}

/** Reads digits with spaces around them, up to the first zero byte; NaN for anything else. */
function octalAt(block: Buffer, start: number, length: number): number {
  const end = start + length;
  let at = start;
  while (at < end && block[at] === SPACE) at += 1;
  let value = 0;
  for (; at < end; at++) {
    const digit = (block[at] ?? 0) - ZERO;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  while (at < end && block[at] === SPACE) at += 1;
  return at === end || block[at] === 0 ? value : Number.NaN;
}

function binaryAt(block: Buffer, start: number, length: number): number {
  const isNegative = ((block[start] ?? 0) & 0x40) !== 0;
  let value = (block[start] ?? 0) & 0x7f;
  if (isNegative) value -= 0x80;
  for (let at = start + 1; at < start + length; at++) value = value * 256 + (block[at] ?? 0);
  return value;
}

const [SPACE, ZERO] = [0x20, 0x30] as const;

type Format = 'v7' | 'gnu' | 'star' | 'ustar';

function formatOf(block: Buffer): Format {
  const magic = block.toString('latin1', 257, 265);
  if (magic === 'ustar  \0') return 'gnu';
  if (!magic.startsWith('ustar\0')) return 'v7';
  return block.toString('latin1', 508, 512) === 'tar\0' ? 'star' : 'ustar';
}

/** The old GNU format stores times where ustar stores the prefix of a long name, and star only has 131 bytes for it. */
function prefixOf(block: Buffer, format: Format): string {
  if (format === 'ustar') return textAt(block, 345, 155);
  return format === 'star' ? textAt(block, 345, 131) : '';
}

/** Accepts the sums of unsigned and of signed bytes, because both have been written. */
function hasChecksum(block: Buffer): boolean {
  let unsigned = 8 * 32;
  let high = 0;
  for (let at = 0; at < BLOCK; at++) {
    if (at === 148) at = 156;
    const byte = block[at] ?? 0;
    unsigned += byte;
    high += byte >> 7;
  }
  const stated = octalAt(block, 148, 8);
  return stated === unsigned || stated === unsigned - 256 * high;
}

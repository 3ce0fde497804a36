import { BLOCK } from './header.ts';
import type { EntryType } from './scanner.ts';

/** Metadata of an entry that is written. Texts are bytes as Latin-1. */
export interface WrittenEntry {
  readonly type: EntryType;
  /** Without leading or trailing slashes. */
  readonly path: string;
  readonly link: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of a file. */
  readonly size: number;
  /** Seconds since the epoch, not negative. */
  readonly mtime: number;
  readonly nanoseconds: number;
  readonly device: readonly [major: number, minor: number];
  readonly xattrs: readonly (readonly [name: string, value: string])[];
}

const TYPE_FLAGS: Readonly<Record<EntryType, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};
const NAME_MAX = 100;
const PREFIX_MAX = 155;
/** The largest numbers of fields with 7 and 11 octal digits. */
const [OWNER_MAX, LONG_MAX] = [0o7777777, 0o77777777777];

/**
 * Writes the header of an entry in ustar format. A PAX header precedes it for long paths, large numbers, fractions of
 * seconds, and extended attributes. Owners are numbers only.
 *
 * @param block 512 bytes for the header, if one block holds it
 * @returns a multiple of 512 bytes
 * @see https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html (ustar and pax Interchange Format)
 */
export function entryHeader(entry: WrittenEntry, block: Buffer = Buffer.allocUnsafe(BLOCK)): Buffer {
  const path = entry.type === 'directory' ? `${entry.path}/` : entry.path;
  const records = recordsOf(entry, path);
  if (records.length === 0) return ustarHeader(entry, path, TYPE_FLAGS[entry.type], block);
  const content = Buffer.from(records.join(''), 'latin1');
  // Readers of the extended format only.
  const extension = { ...entry, link: '', mode: 0o644, uid: 0, gid: 0, size: content.length, mtime: 0 };
  return Buffer.concat([
    ustarHeader({ ...extension, device: [0, 0] }, 'PaxHeaders/entry', 'x'),
    content,
    Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK),
    ustarHeader(entry, path, TYPE_FLAGS[entry.type]),
  ]);
}

/** Returns the length of the header that {@link entryHeader} writes, in bytes. */
export function entryHeaderSize(entry: WrittenEntry): number {
  const records = recordsOf(entry, entry.type === 'directory' ? `${entry.path}/` : entry.path);
  if (records.length === 0) return BLOCK;
  const length = records.reduce((sum, record) => sum + record.length, 0);
  return (2 + Math.ceil(length / BLOCK)) * BLOCK;
}

const NO_RECORDS: readonly string[] = [];

function recordsOf(entry: WrittenEntry, path: string): readonly string[] {
  const { link, uid, gid, size, mtime, nanoseconds, xattrs } = entry;
  const isPathLong = path.length > NAME_MAX && splitAt(path) === undefined;
  const isLinkLong = link.length > NAME_MAX;
  const isPlain = !isPathLong && !isLinkLong && nanoseconds === 0 && xattrs.length === 0;
  if (isPlain && uid <= OWNER_MAX && gid <= OWNER_MAX && size <= LONG_MAX && mtime <= LONG_MAX)
    return NO_RECORDS;
  const isBinary = (isPathLong && !isUtf8(path)) || (isLinkLong && !isUtf8(link));
  const fraction = `${nanoseconds}`.padStart(9, '0').replace(/0+$/, '');
  return [
    // Paths in PAX headers are UTF-8 unless this record precedes them.
    ...(isBinary ? [record('hdrcharset', 'BINARY')] : []),
    ...(isPathLong ? [record('path', path)] : []),
    ...(isLinkLong ? [record('linkpath', link)] : []),
    ...(size > LONG_MAX ? [record('size', `${size}`)] : []),
    ...(uid > OWNER_MAX ? [record('uid', `${uid}`)] : []),
    ...(gid > OWNER_MAX ? [record('gid', `${gid}`)] : []),
    ...(nanoseconds > 0 || mtime > LONG_MAX
      ? [record('mtime', fraction === '' ? `${mtime}` : `${mtime}.${fraction}`)]
      : []),
    ...xattrs.map(([name, value]) => record(`SCHILY.xattr.${name}`, value)),
  ];
}

/** A PAX record counts itself: `LENGTH KEY=VALUE\n`. */
function record(key: string, value: string): string {
  const body = ` ${key}=${value}\n`;
  let length = body.length + 1;
  while (`${length}`.length + body.length !== length) length = `${length}`.length + body.length;
  return `${length}${body}`;
}

function ustarHeader(
  entry: Omit<WrittenEntry, 'path' | 'xattrs'>,
  path: string,
  type: string,
  block: Buffer = Buffer.allocUnsafe(BLOCK),
): Buffer {
  block.set(TEMPLATE);
  const { link, mode, uid, gid, size, mtime, device } = entry;
  const split = path.length > NAME_MAX ? splitAt(path) : undefined;
  let checksum = TEMPLATE_SUM;
  if (split === undefined) checksum += writeText(block, 0, path, 0, NAME_MAX);
  else {
    checksum += writeText(block, 0, path, split + 1, NAME_MAX);
    checksum += writeText(block, 345, path, 0, split);
  }
  checksum += writeOctal(block, 100, 7, mode);
  checksum += writeOctal(block, 108, 7, uid <= OWNER_MAX ? uid : 0);
  checksum += writeOctal(block, 116, 7, gid <= OWNER_MAX ? gid : 0);
  checksum += writeOctal(block, 124, 11, size <= LONG_MAX ? size : 0);
  checksum += writeOctal(block, 136, 11, mtime <= LONG_MAX ? mtime : 0);
  checksum += writeText(block, 156, type, 0, 1);
  checksum += writeText(block, 157, link, 0, NAME_MAX);
  if (type === TYPE_FLAGS.character || type === TYPE_FLAGS.block) {
    checksum += writeOctal(block, 329, 7, device[0]);
    checksum += writeOctal(block, 337, 7, device[1]);
  }
  writeOctal(block, 148, 6, checksum);
  block[154] = 0;
  return block;
}

/** The bytes that all headers share, with the checksum as spaces, as its computation requires. */
const TEMPLATE = Buffer.alloc(BLOCK).fill(0x20, 148, 156);
TEMPLATE.write('ustar\x0000', 257, 'latin1');
const TEMPLATE_SUM = TEMPLATE.reduce((sum, byte) => sum + byte, 0);

/**
 * Writes characters of a Latin-1 text from `from` on, at most `most`. An archive may have millions of headers, and one
 * pass that writes and sums takes a third of the time of two.
 *
 * @returns the sum of the bytes
 */
function writeText(block: Buffer, start: number, text: string, from: number, most: number): number {
  const length = Math.min(text.length - from, most);
  let sum = 0;
  for (let at = 0; at < length; at++) {
    const byte = text.charCodeAt(from + at) & 0xff;
    block[start + at] = byte;
    sum += byte;
  }
  return sum;
}

/** Writes a number with all its digits. @returns the sum of the bytes */
function writeOctal(block: Buffer, start: number, digits: number, value: number): number {
  let rest = value;
  let sum = 0;
  for (let at = start + digits - 1; at >= start; at--) {
    const byte = 0x30 + (rest % 8);
    block[at] = byte;
    sum += byte;
    // Operations on 32-bit integers are faster, and most numbers fit.
    rest = rest <= 0x7fffffff ? rest >> 3 : Math.floor(rest / 8);
  }
  return sum;
}

/** Finds the slash that divides a path into the prefix and the name of ustar; undefined if none does. */
function splitAt(path: string): number | undefined {
  if (path.length > PREFIX_MAX + 1 + NAME_MAX) return undefined;
  // The slash that ends a directory belongs to its name.
  const slash = path.indexOf('/', path.length - NAME_MAX - 1);
  return slash > 0 && slash <= PREFIX_MAX && slash < path.length - 1 ? slash : undefined;
}

function isUtf8(text: string): boolean {
  const bytes = Buffer.from(text, 'latin1');
  return bytes.equals(Buffer.from(bytes.toString('utf8')));
}

import { detail } from '../errors/details.ts';
import { BLOCK, isZeroBlock, type RawHeader, readHeader } from './header.ts';
import { MalformedTar } from './malformed-tar.ts';
import { type Moment, type PaxRecords, paxNumber, paxTime, readPax, SPARSE_MAP } from './pax.ts';
import {
  checkSegments,
  readMoreSegments,
  readOldSegments,
  readOldSize,
  readSparseLines,
  readSparseMap,
  type Segment,
} from './sparse.ts';

/** An entry of a tar archive, with all its extension headers applied. Texts are bytes as Latin-1. */
export interface ScannedEntry {
  readonly type: EntryType;
  /** As written: it may be absolute, contain `..`, or end with a slash. */
  readonly name: string;
  /** The target of a hard or symbolic link, as written; empty for other types. */
  readonly link: string;
  /** Permission bits, setuid, setgid, and sticky included. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of the file; 0 for other types. */
  readonly size: number;
  readonly mtime: Moment;
  readonly devMajor: number;
  readonly devMinor: number;
  /** Extended attributes by name. */
  readonly xattrs: ReadonlyMap<string, string>;
  /** The position of the data in the archive, in bytes. */
  readonly offset: number;
  /** The data of a sparse file, in the order in which it is stored; undefined for any other file. */
  readonly segments: readonly Segment[] | undefined;
}

export type EntryType = 'file' | 'hardlink' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo';

/** Reads a tar archive chunk by chunk and keeps nothing of it. */
export interface TarScanner {
  /** @throws MalformedTar */
  push(chunk: Buffer): void;
  /** Ends the archive. @throws MalformedTar if it is cut off */
  end(): void;
}

const TYPES: Readonly<Record<string, EntryType>> = {
  '\0': 'file',
  '0': 'file',
  S: 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
};
/** Maximum bytes of an extension header, the same as in Go. */
const EXTENSION_MAX = 2 ** 20;
/** Maximum bytes of a path, one less than Linux's PATH_MAX, which counts the zero byte. */
const PATH_MAX = 4095;
const OWNER_MAX = 0xffff_fffe;
/** The largest number that a device field of ustar holds. */
const DEVICE_MAX = 0o7777777;
const XATTR = 'SCHILY.xattr.';
const NO_RECORDS: PaxRecords = new Map();
const NO_XATTRS: ReadonlyMap<string, string> = new Map();

/**
 * Creates a scanner with the rules of Go's archive/tar, because container engines unpack layers by it. It ignores global
 * PAX headers and bytes after the end of the archive, and prefers GNU long names to PAX records.
 *
 * @param onEntry called with each entry; what it throws ends the scan
 */
export function createTarScanner(onEntry: (entry: ScannedEntry) => void): TarScanner {
  let position = 0;
  /** Bytes to skip. The last `zeros` of them are padding, which may be missing at the end of an archive. */
  let skip = 0;
  let zeros = 0;
  let isAfterZeros = false;
  let isOver = false;
  let records = NO_RECORDS;
  let longName: string | undefined;
  let longLink: string | undefined;
  /** The bytes to collect next, and their reader. */
  let wanted = BLOCK;
  let take: (bytes: Buffer) => void = takeHeader;
  let held = Buffer.alloc(0);
  let heldLength = 0;

  const expect = (length: number, next: (bytes: Buffer) => void): void => {
    wanted = length;
    take = next;
  };
  const expectHeader = (): void => expect(BLOCK, takeHeader);

  function takeHeader(block: Buffer): void {
    if (isZeroBlock(block)) {
      isOver = isAfterZeros;
      isAfterZeros = true;
      return;
    }
    if (isAfterZeros) throw new MalformedTar(detail('tar-end-damaged', {}));
    const header = readHeader(block);
    const readExtension = EXTENSIONS[header.type];
    if (readExtension === undefined) {
      takeEntry(header, block);
      return;
    }
    if (header.size > EXTENSION_MAX)
      throw new MalformedTar(detail('tar-extension-large', { limit: EXTENSION_MAX }));
    expect(padded(header.size), (bytes) => {
      readExtension(bytes.subarray(0, header.size));
      expectHeader();
    });
    if (header.size === 0) take(Buffer.alloc(0));
  }

  const EXTENSIONS: Readonly<Record<string, (bytes: Buffer) => void>> = {
    x: (bytes) => {
      records = readPax(bytes);
    },
    g: (bytes) => void readPax(bytes),
    L: (bytes) => {
      longName = untilZero(bytes);
    },
    K: (bytes) => {
      longLink = untilZero(bytes);
    },
  };

  function takeEntry(header: RawHeader, block: Buffer): void {
    const entry = entryOf(header, records, longName, longLink);
    const stored = entry.type === 'file' ? (paxNumber(records, 'size') ?? header.size) : 0;
    const version = `${records.get('GNU.sparse.major') ?? ''}.${records.get('GNU.sparse.minor') ?? ''}`;
    const map = records.get(SPARSE_MAP);
    const sparseSize = paxNumber(records, 'GNU.sparse.realsize') ?? paxNumber(records, 'GNU.sparse.size');
    records = NO_RECORDS;
    longName = undefined;
    longLink = undefined;
    if (entry.type !== 'file') finish({ ...entry, size: 0, offset: position, segments: undefined }, 0);
    else if (header.type === 'S') takeOldSparse(entry, block, stored);
    else if (version === '1.0') takeSparseLines(entry, sparseSize ?? stored, stored);
    else if (map !== undefined) finishSparse(entry, readSparseMap(map), sparseSize ?? stored, stored);
    else finish({ ...entry, size: stored, offset: position, segments: undefined }, stored);
  }

  function takeOldSparse(entry: BareEntry, block: Buffer, stored: number): void {
    const segments: Segment[] = [];
    const size = readOldSize(block);
    const readFurther = (hasMore: boolean): void => {
      if (hasMore) expect(BLOCK, (further) => readFurther(readMoreSegments(further, segments)));
      else finishSparse(entry, segments, size, stored);
    };
    readFurther(readOldSegments(block, segments));
  }

  function takeSparseLines(entry: BareEntry, size: number, stored: number): void {
    const blocks: Buffer[] = [];
    let length = 0;
    let nextLook = 1;
    expect(BLOCK, (block) => {
      blocks.push(Buffer.from(block));
      length += BLOCK;
      if (length > padded(stored)) throw new MalformedTar(detail('tar-sparse', {}));
      // Looking after each block would read a long map as often as it has blocks.
      if (blocks.length < nextLook && length < padded(stored)) return;
      nextLook = blocks.length * 2;
      const all = Buffer.concat(blocks);
      const segments = readSparseLines(all);
      if (segments === undefined) return;
      const mapLength = padded(mapBytes(all, segments.length));
      // The data may have begun within the blocks that were collected.
      finishSparse(entry, segments, size, stored - mapLength, length - mapLength);
    });
  }

  /** @param taken bytes of the data that were read with the map */
  function finishSparse(
    entry: BareEntry,
    segments: readonly Segment[],
    size: number,
    stored: number,
    taken = 0,
  ): void {
    checkSegments(segments, size, stored);
    finish({ ...entry, size, offset: position - taken, segments }, stored, taken);
  }

  function finish(entry: ScannedEntry, stored: number, taken = 0): void {
    onEntry(entry);
    skip = padded(stored) - taken;
    zeros = padded(stored) - stored;
    expectHeader();
  }

  const collect = (chunk: Buffer): Buffer => {
    if (heldLength === 0 && held.length < wanted) held = Buffer.allocUnsafe(wanted);
    const part = chunk.subarray(0, wanted - heldLength);
    if (held.length < wanted) held = Buffer.concat([held.subarray(0, heldLength)], wanted);
    part.copy(held, heldLength);
    heldLength += part.length;
    position += part.length;
    return chunk.subarray(part.length);
  };

  return {
    push(chunk) {
      let rest = chunk;
      while (rest.length > 0 && !isOver) {
        if (skip > 0) {
          const passed = Math.min(skip, rest.length);
          skip -= passed;
          position += passed;
          rest = rest.subarray(passed);
        } else if (heldLength === 0 && rest.length >= wanted) {
          const bytes = rest.subarray(0, wanted);
          position += wanted;
          rest = rest.subarray(wanted);
          take(bytes);
        } else {
          rest = collect(rest);
          if (heldLength < wanted) continue;
          const bytes = held.subarray(0, wanted);
          heldLength = 0;
          take(bytes);
        }
      }
    },
    end() {
      const isComplete = isOver || (skip <= zeros && heldLength === 0 && take === takeHeader);
      if (!isComplete) throw new MalformedTar(detail('tar-ended', {}));
    },
  };
}

type BareEntry = Omit<ScannedEntry, 'size' | 'offset' | 'segments'>;

function entryOf(
  header: RawHeader,
  records: PaxRecords,
  longName: string | undefined,
  longLink: string | undefined,
): BareEntry {
  const text = (key: string): string | undefined => records.get(key) || undefined;
  const name = longName ?? text('GNU.sparse.name') ?? text('path') ?? header.name;
  const link = longLink ?? text('linkpath') ?? header.link;
  const known = TYPES[header.type];
  if (known === undefined)
    throw new MalformedTar(detail('tar-type', { type: `0x${header.type.charCodeAt(0).toString(16)}` }));
  // Archives from before ustar mark a directory by a slash only.
  const type = header.type === '\0' && name.endsWith('/') ? 'directory' : known;
  const isLink = type === 'hardlink' || type === 'symlink';
  const isDevice = type === 'character' || type === 'block';
  const entry: BareEntry = {
    type,
    name,
    link: isLink ? link : '',
    mode: header.mode & 0o7777,
    uid: paxNumber(records, 'uid') ?? header.uid,
    gid: paxNumber(records, 'gid') ?? header.gid,
    mtime: paxTime(records, 'mtime') ?? { seconds: header.mtime, nanoseconds: 0 },
    devMajor: isDevice ? header.devMajor : 0,
    devMinor: isDevice ? header.devMinor : 0,
    xattrs: xattrsOf(records),
  };
  checkEntry(entry);
  return entry;
}

function checkEntry({ name, link, uid, gid, devMajor, devMinor }: BareEntry): void {
  if (name.length > PATH_MAX || link.length > PATH_MAX)
    throw new MalformedTar(detail('tar-path', { limit: PATH_MAX }));
  if (!isWithin(uid, OWNER_MAX) || !isWithin(gid, OWNER_MAX)) throw new MalformedTar(detail('tar-owner', {}));
  if (!isWithin(devMajor, DEVICE_MAX) || !isWithin(devMinor, DEVICE_MAX))
    throw new MalformedTar(detail('tar-device', {}));
}

function isWithin(value: number, most: number): boolean {
  return value >= 0 && value <= most;
}

function xattrsOf(records: PaxRecords): ReadonlyMap<string, string> {
  if (records.size === 0) return NO_XATTRS;
  const found = [...records].filter(([key]) => key.startsWith(XATTR) && key.length > XATTR.length);
  return found.length === 0
    ? NO_XATTRS
    : new Map(found.map(([key, value]) => [key.slice(XATTR.length), value]));
}

/** The bytes of a map of format 1.0: a line for the count and two for each segment. */
function mapBytes(bytes: Buffer, segments: number): number {
  let at = 0;
  for (let line = 0; line < 2 * segments + 1; line++) at = bytes.indexOf(0x0a, at) + 1;
  return at;
}

function untilZero(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end === -1 ? bytes.length : end);
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

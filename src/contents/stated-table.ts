import { Buffer } from 'node:buffer';
import { createElementReader } from '../oci/json-elements.ts';
import type { EntryType, ScannedEntry } from '../tar/scanner.ts';
import { createLayerTable, type LayerTable } from './layer-table.ts';

/** Thrown if the table of contents in a layer cannot be used. The layer must then be read. */
export class UnusableToc extends Error {
  override readonly name = 'UnusableToc';
}

/** Reads a table of contents chunk by chunk. */
export interface StatedTableReader {
  /** @throws UnusableToc */
  push(chunk: Uint8Array): void;
  /** @throws UnusableToc if the table is cut off, or of another version */
  end(): LayerTable;
}

/** Limits of a table of contents. */
export interface TocLimits {
  readonly entries: number;
  /** Maximum bytes of all paths and link targets. */
  readonly textBytes: number;
}

/** The name of the file with the table in an eStargz layer. It is the last entry, and not listed in the table. */
export const ESTARGZ_TOC = 'stargz.index.json';

const TYPES: ReadonlyMap<unknown, EntryType> = new Map([
  ['reg', 'file'],
  ['dir', 'directory'],
  ['symlink', 'symlink'],
  ['hardlink', 'hardlink'],
  ['char', 'character'],
  ['block', 'block'],
  ['fifo', 'fifo'],
]);
const PATH_MAX = 4095;
const OWNER_MAX = 0xffff_fffe;
const DEVICE_MAX = 0o7777777;
const NO_XATTRS: ReadonlyMap<string, string> = new Map();

/**
 * Reads the table of contents of an eStargz or a zstd:chunked layer: what the layer's publisher states about its files.
 * It lacks the positions of data and the unpacked size. It therefore suffices for lists, but not for archives.
 *
 * @param ownSize bytes of the file with the table, if it is a file of the layer
 * @see https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md#toc-tocentries-and-footer
 * @see https://github.com/containers/storage/blob/main/pkg/chunked/internal/minimal/compression.go
 */
export function createStatedTableReader(limits: TocLimits, ownSize: number | undefined): StatedTableReader {
  const builder = createLayerTable();
  const add = (entry: ScannedEntry): void => {
    builder.add(entry);
    if (builder.count > limits.entries || builder.textBytes > limits.textBytes)
      throw new UnusableToc('the table is too large');
  };
  const elements = createElementReader((value) => {
    // A large file has an entry of its own, and one more for each chunk after the first.
    if (value.type !== 'chunk') add(entryOf(value));
  });
  const orUnusable = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      if (error instanceof UnusableToc) throw error;
      throw new UnusableToc((error as Error).message, { cause: error });
    }
  };
  return {
    push: (chunk) => orUnusable(() => elements.push(chunk)),
    end: () =>
      orUnusable(() => {
        const { version } = elements.end('entries');
        if (version !== 1) throw new UnusableToc('the table has another version');
        if (ownSize !== undefined) add({ ...USUAL, name: ESTARGZ_TOC, size: ownSize });
        return builder.done(0);
      }),
  };
}

/** The metadata with which eStargz writers store their table. */
const USUAL: ScannedEntry = {
  ...{ type: 'file', name: '', link: '', mode: 0, uid: 0, gid: 0, size: 0 },
  ...{ mtime: { seconds: 0, nanoseconds: 0 }, devMajor: 0, devMinor: 0 },
  ...{ xattrs: NO_XATTRS, offset: 0, segments: undefined },
};

function entryOf(value: Readonly<Record<string, unknown>>): ScannedEntry {
  const type = TYPES.get(value.type);
  if (type === undefined) throw new UnusableToc('an entry has an unknown type');
  const isLink = type === 'hardlink' || type === 'symlink';
  const isDevice = type === 'character' || type === 'block';
  return {
    ...USUAL,
    type,
    name: pathOf(value.name),
    link: isLink ? pathOf(value.linkName) : '',
    mode: numberOf(value.mode, Number.MAX_SAFE_INTEGER) % 0o10000,
    uid: numberOf(value.uid, OWNER_MAX),
    gid: numberOf(value.gid, OWNER_MAX),
    size: type === 'file' ? numberOf(value.size, Number.MAX_SAFE_INTEGER) : 0,
    mtime: { seconds: secondsOf(value.modtime), nanoseconds: 0 },
    devMajor: isDevice ? numberOf(value.devMajor, DEVICE_MAX) : 0,
    devMinor: isDevice ? numberOf(value.devMinor, DEVICE_MAX) : 0,
  };
}

/** Reads a path as bytes in Latin-1. For bytes that are not UTF-8, writers put U+FFFD, so the original name is lost. */
function pathOf(value: unknown): string {
  if (typeof value !== 'string' || value === '' || /[\0\ufffd]/.test(value))
    throw new UnusableToc('a name is missing or damaged');
  const path = Buffer.from(value).toString('latin1');
  if (path.length > PATH_MAX) throw new UnusableToc('a name is too long');
  return path;
}

/** Reads a number, which is absent for 0. */
function numberOf(value: unknown = 0, most: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= most) return value;
  throw new UnusableToc('a number is out of range');
}

function secondsOf(value: unknown = ''): number {
  if (value === '' || value === null) return 0;
  const milliseconds = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(milliseconds)) throw new UnusableToc('a time is malformed');
  return Math.floor(milliseconds / 1000);
}

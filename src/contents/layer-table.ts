import type { EntryType, ScannedEntry } from '../tar/scanner.ts';
import type { Segment } from '../tar/sparse.ts';
import { cleanPath } from './clean-path.ts';
import { createColumn, createTextColumn, type Numbers, type TextColumn, textOf } from './columns.ts';

/**
 * The table of contents of a layer: one row for each entry of its tar archive, in their order. Everything about an
 * image's files follows from the tables of its layers.
 */
export interface LayerTable {
  /** The number of entries. */
  readonly count: number;
  /** Bytes of the unpacked layer, all of its tar archive included. */
  readonly unpackedSize: number;
  readonly columns: LayerColumns;
}

/** The columns of a table. Each has a value for each entry. */
export interface LayerColumns {
  /** Paths without `.`, `..`, double, leading or trailing slashes; empty for the root. */
  readonly paths: TextColumn;
  /** The targets of links, as written. */
  readonly links: TextColumn;
  /** {@link Rarities} as JSON; empty for most entries. */
  readonly rarities: TextColumn;
  /** The index of a type in {@link TYPES}. */
  readonly types: Numbers;
  readonly modes: Numbers;
  readonly uids: Numbers;
  readonly gids: Numbers;
  /** Bytes. */
  readonly sizes: Numbers;
  /** Seconds since the epoch. */
  readonly mtimes: Numbers;
  readonly nanoseconds: Numbers;
  /** Positions of the data in the unpacked layer, in bytes. */
  readonly offsets: Numbers;
}

/** The types of entries, by their index in a table. The order is part of the stored format. */
export const TYPES: readonly EntryType[] = [
  'file',
  'directory',
  'symlink',
  'hardlink',
  'character',
  'block',
  'fifo',
];

/** Properties that few entries have. */
export interface Rarities {
  /** The major and minor number of a device. */
  readonly device?: readonly [major: number, minor: number];
  /** Extended attributes. */
  readonly xattrs?: readonly (readonly [name: string, value: string])[];
  /** The stored segments of a sparse file, as pairs of offset and length. */
  readonly segments?: readonly (readonly [offset: number, length: number])[];
}

/** An entry of a table. Texts are bytes as Latin-1. */
export interface LayerEntry {
  readonly type: EntryType;
  readonly path: string;
  readonly link: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly nanoseconds: number;
  readonly offset: number;
  readonly device: readonly [major: number, minor: number];
  readonly xattrs: readonly (readonly [name: string, value: string])[];
  /** The stored parts of a sparse file; undefined for any other file. */
  readonly segments: readonly Segment[] | undefined;
}

/** Collects the entries of a layer. */
export interface LayerTableBuilder {
  add(entry: ScannedEntry): void;
  readonly count: number;
  /** Bytes of all texts. */
  readonly textBytes: number;
  done(unpackedSize: number): LayerTable;
}

/** The last second that engines set on a file: nanoseconds in 63 bits. They set the epoch in place of others. */
const MTIME_MAX = 9_223_372_035;
/** SELinux labels belong to the machine that built the image, and extracting them fails on most others. */
const UNWANTED_XATTRS: ReadonlySet<string> = new Set(['security.selinux']);
const NONE: Rarities = {};

export function createLayerTable(): LayerTableBuilder {
  const [paths, links, rarities] = [createTextColumn(), createTextColumn(), createTextColumn()];
  const [types, modes, uids, gids] = [createColumn(), createColumn(), createColumn(), createColumn()];
  const [sizes, mtimes, nanoseconds, offsets] = [
    ...[createColumn(), createColumn(), createColumn(), createColumn()],
  ] as const;
  let count = 0;
  return {
    add(entry) {
      const { seconds } = entry.mtime;
      const hasTime = seconds >= 0 && seconds <= MTIME_MAX;
      paths.push(cleanPath(entry.name));
      links.push(entry.link);
      rarities.push(raritiesOf(entry));
      types.push(TYPES.indexOf(entry.type));
      modes.push(entry.mode);
      uids.push(entry.uid);
      gids.push(entry.gid);
      sizes.push(entry.size);
      mtimes.push(hasTime ? seconds : 0);
      nanoseconds.push(hasTime ? entry.mtime.nanoseconds : 0);
      offsets.push(entry.offset);
      count += 1;
    },
    get count() {
      return count;
    },
    get textBytes() {
      return paths.size + links.size + rarities.size;
    },
    done: (unpackedSize) => ({
      count,
      unpackedSize,
      columns: {
        paths: paths.done(),
        links: links.done(),
        rarities: rarities.done(),
        types: types.done(),
        modes: modes.done(),
        uids: uids.done(),
        gids: gids.done(),
        sizes: sizes.done(),
        mtimes: mtimes.done(),
        nanoseconds: nanoseconds.done(),
        offsets: offsets.done(),
      },
    }),
  };
}

/** Reads an entry. */
export function entryAt(table: LayerTable, at: number): LayerEntry {
  return { ...metadataAt(table, at), path: textOf(table.columns.paths, at) };
}

/** Reads an entry without its path. */
export function metadataAt({ columns }: LayerTable, at: number): Omit<LayerEntry, 'path'> {
  const rare = textOf(columns.rarities, at);
  const { device = [0, 0], xattrs = [], segments }: Rarities = rare === '' ? NONE : JSON.parse(rare);
  return {
    type: TYPES[columns.types[at] ?? 0] ?? 'file',
    link: textOf(columns.links, at),
    mode: columns.modes[at] ?? 0,
    uid: columns.uids[at] ?? 0,
    gid: columns.gids[at] ?? 0,
    size: columns.sizes[at] ?? 0,
    mtime: columns.mtimes[at] ?? 0,
    nanoseconds: columns.nanoseconds[at] ?? 0,
    offset: columns.offsets[at] ?? 0,
    device,
    xattrs,
    segments: segments?.map(([offset, length]) => ({ offset, length })),
  };
}

/** Returns the bytes that a table holds in memory. */
export function tableBytes({ columns }: LayerTable): number {
  const { paths, links, rarities, ...numbers } = columns;
  const texts = [paths, links, rarities].map(({ bytes, ends }) => bytes.byteLength + ends.byteLength);
  return [...texts, ...Object.values(numbers).map(({ byteLength }) => byteLength)].reduce((a, b) => a + b, 0);
}

function raritiesOf({ type, devMajor, devMinor, xattrs, segments }: ScannedEntry): string {
  const isDevice = type === 'character' || type === 'block';
  const wanted = [...xattrs].filter(([name]) => !UNWANTED_XATTRS.has(name));
  const rarities: Rarities = {
    ...(isDevice && { device: [devMajor, devMinor] }),
    ...(wanted.length > 0 && { xattrs: wanted }),
    ...(segments && { segments: segments.map(({ offset, length }) => [offset, length] as const) }),
  };
  return Object.keys(rarities).length === 0 ? '' : JSON.stringify(rarities);
}

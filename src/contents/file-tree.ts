import { type LayerEntry, type LayerTable, metadataAt, tableBytes } from './layer-table.ts';
import type { NodeStore } from './node-store.ts';
import { sortInSteps } from './sort-in-steps.ts';

/** The files of an image, merged from its layers. Nodes are numbers, and the root is 0. */
export interface FileTree {
  readonly layers: readonly LayerTable[];
  /** The effect of each layer on the files of the layers below it. */
  readonly changes: readonly LayerChanges[];
  /** Finds a path, given as bytes in Latin-1. Links within the path are followed; the last one only if `follow` is set. */
  find(path: string, follow: boolean): number | undefined;
  /** Describes a node. */
  file(node: number): TreeFile;
  /** Lists a directory by name, in byte order. Yields between steps, because a directory may have a million files. */
  children(node: number): Generator<void, Int32Array>;
  /** The name of a node, as bytes in Latin-1. */
  name(node: number): string;
  /** The path of a node from the root, without a leading slash; empty for the root. */
  path(node: number): string;
  /** Returns a check for nodes below a directory, which is fast for many nodes. */
  below(directory: number): (node: number) => boolean;
  /** All directories but the root, each after its parent. The array belongs to the caller. */
  directories(): Int32Array;
  /**
   * All other nodes in the order in which their data is stored: by layer, then by position. The names of one file
   * follow each other, beginning with the oldest. The array belongs to the caller.
   */
  files(): Int32Array;
  /** The entry in which the data of a file is stored, equal for all names of one file, counted over all layers. */
  dataIndex(node: number): number;
  /** The index of the layer in which the data of a file is stored. */
  dataLayer(node: number): number;
  /** Bytes in memory, layers included. */
  readonly bytes: number;
}

/** The numbers of files, without directories, that a layer adds, and that replace a file of a lower layer. */
export interface LayerChanges {
  readonly added: number;
  readonly changed: number;
}

/** A file of an image. */
export interface TreeFile extends Omit<LayerEntry, 'type' | 'path'> {
  readonly type: Exclude<LayerEntry['type'], 'hardlink'>;
  /** The index of the layer that contains the file. */
  readonly layer: number;
}

/** The state of a merge that became a tree. */
export interface MergedNodes {
  readonly layers: readonly LayerTable[];
  readonly changes: readonly LayerChanges[];
  /** The number of entries before each layer. */
  readonly bases: readonly number[];
  readonly nodes: NodeStore;
  /** Tells whether a node is a directory, a symbolic link, another file, or not present. */
  readonly kinds: Uint8Array;
  /** The entry with the data of each node, counted over all layers; -1 for a directory without an entry. */
  readonly data: Int32Array;
  /** The latest entry with metadata of each node. */
  readonly metadata: Int32Array;
}

export const KINDS = { absent: 0, removedDirectory: 1, directory: 2, symlink: 3, other: 4 } as const;

/** Links that are followed for one path, as in Linux. */
const LINKS_MAX = 40;
/** Columns of a tree, the list of nodes in the layout of its archive, and that of its large directories. */
const TABLE_ROW = 4 + 4 + 1 + 4 + 4;
/** Children of a directory whose order is kept, because each page of a list needs it. */
const LARGE = 1024;
/** Children between two yields: a few milliseconds. */
const STEP = 16_384;

/** Creates the tree of merged nodes. */
export function createFileTree({
  layers,
  changes,
  bases,
  nodes,
  kinds,
  data,
  metadata,
}: MergedNodes): FileTree {
  const total = layers.reduce((sum, { count }) => sum + count, 0);

  /** The children of large directories that were listed. */
  const sorted = new Map<number, Int32Array>();
  const isPresent = (node: number): boolean => (kinds[node] ?? 0) >= KINDS.directory;
  const layerOf = (entry: number): number => {
    let layer = bases.length - 1;
    while (layer > 0 && (bases[layer] ?? 0) > entry) layer -= 1;
    return layer;
  };
  const entryOf = (entry: number): Omit<LayerEntry, 'path'> => {
    const layer = layerOf(entry);
    const table = layers[layer];
    if (table === undefined) throw new RangeError(`Unknown entry ${entry}`);
    return metadataAt(table, entry - (bases[layer] ?? 0));
  };
  const childOf = (parent: number, name: string): number | undefined => {
    const found = nodes.find(parent, Buffer.from(name, 'latin1'));
    return found !== -1 && isPresent(found) ? found : undefined;
  };

  const find = (path: string, follow: boolean): number | undefined => {
    const left = path.split('/').reverse();
    let node = 0;
    for (let links = 0; ; ) {
      const name = left.pop();
      if (name === undefined) return node;
      if (name === '' || name === '.') continue;
      if (name === '..') {
        node = nodes.parentOf(node);
        continue;
      }
      if (kinds[node] !== KINDS.directory) return undefined;
      const child = childOf(node, name);
      if (child === undefined) return undefined;
      const isLast = left.every((rest) => rest === '');
      if (kinds[child] !== KINDS.symlink || (isLast && !follow)) {
        node = child;
        continue;
      }
      links += 1;
      if (links > LINKS_MAX) return undefined;
      const { link } = entryOf(data[child] ?? 0);
      if (link.startsWith('/')) node = 0;
      left.push(...link.split('/').reverse());
    }
  };

  const { text: name } = nodes;

  /** The directory whose path was last asked for, because files of one directory follow each other. */
  let last = { directory: 0, prefix: '' };
  const path = (node: number): string => {
    if (node === 0) return '';
    const directory = nodes.parentOf(node);
    if (directory !== last.directory) {
      const names: string[] = [''];
      for (let at = directory; at !== 0; at = nodes.parentOf(at)) names.push(name(at));
      last = { directory, prefix: names.reverse().join('/') };
    }
    return `${last.prefix}${name(node)}`;
  };

  /** Marks the nodes that are present with all directories above them. */
  const reachable = (): Uint8Array => {
    const marks = new Uint8Array(nodes.count);
    marks[0] = 1;
    for (let node = 1; node < nodes.count; node++)
      if (isPresent(node) && marks[nodes.parentOf(node)] === 1) marks[node] = 1;
    return marks;
  };

  return {
    ...{ layers, changes, find, path, name },
    file(node) {
      const own = metadata[node] ?? -1;
      if (own === -1) return { ...IMPLIED, layer: 0 };
      const content = data[node] ?? own;
      const stored = entryOf(content);
      const { type, link, size, offset, device, xattrs, segments } = stored;
      if (type === 'hardlink') throw new RangeError(`The node ${node} has no data`);
      const { mode, uid, gid, mtime, nanoseconds } = own === content ? stored : entryOf(own);
      const layer = layerOf(own);
      return {
        ...{ type, link, mode, uid, gid, size, mtime, nanoseconds, offset, device, xattrs, segments, layer },
      };
    },
    *children(node) {
      const kept = sorted.get(node);
      if (kept !== undefined) return kept;
      const found: number[] = [];
      let passed = 0;
      for (const child of nodes.children(node)) {
        if (isPresent(child)) found.push(child);
        if (++passed % STEP === 0) yield;
      }
      // The store lists the latest first, and most layers are in order.
      const present = Int32Array.from(found).reverse();
      const children = yield* sortInSteps(present, nodes.compareNames);
      if (children.length >= LARGE) sorted.set(node, children);
      return children;
    },
    below(directory) {
      if (directory === 0) return () => true;
      const marks = new Uint8Array(nodes.count);
      for (let node = directory + 1; node < nodes.count; node++) {
        const parent = nodes.parentOf(node);
        if (parent === directory || marks[parent] === 1) marks[node] = 1;
      }
      return (node) => marks[node] === 1;
    },
    directories() {
      const marks = reachable();
      const found: number[] = [];
      for (let node = 1; node < nodes.count; node++)
        if (marks[node] === 1 && kinds[node] === KINDS.directory) found.push(node);
      return Int32Array.from(found);
    },
    files() {
      const marks = reachable();
      const byEntry = new Int32Array(total).fill(-1);
      let count = 0;
      for (let node = 1; node < nodes.count; node++) {
        if (marks[node] !== 1 || kinds[node] === KINDS.directory) continue;
        byEntry[metadata[node] ?? 0] = node;
        count += 1;
      }
      return groupByData(byEntry, data, count);
    },
    dataIndex: (node) => data[node] ?? -1,
    dataLayer: (node) => layerOf(data[node] ?? 0),
    bytes: layers.reduce((sum, table) => sum + tableBytes(table), nodes.bytes + nodes.count * TABLE_ROW),
  };
}

/** The metadata of a directory that exists only because an entry is below it. */
const IMPLIED: Omit<TreeFile, 'layer'> = {
  type: 'directory',
  link: '',
  mode: 0o755,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: 0,
  nanoseconds: 0,
  offset: 0,
  device: [0, 0],
  xattrs: [],
  segments: undefined,
};

/**
 * Places all names of a file at the position of its data.
 *
 * @param byEntry nodes by the entry that made them, which is the order of their age
 */
function groupByData(byEntry: Int32Array<ArrayBuffer>, data: Int32Array, count: number): Int32Array {
  const firsts = new Int32Array(byEntry.length).fill(-1);
  const nexts = new Int32Array(byEntry.length).fill(-1);
  const lasts = new Int32Array(byEntry.length).fill(-1);
  for (const [entry, node] of byEntry.entries()) {
    if (node === -1) continue;
    const group = data[node] ?? entry;
    const last = lasts[group] ?? -1;
    if (last === -1) firsts[group] = entry;
    else nexts[last] = entry;
    lasts[group] = entry;
  }
  const ordered = new Int32Array(count);
  let length = 0;
  for (const first of firsts)
    for (let entry = first; entry !== -1; entry = nexts[entry] ?? -1) ordered[length++] = byEntry[entry] ?? 0;
  // `transfer` frees their memory at once. The garbage collector would free it much later.
  for (const { buffer } of [byEntry, firsts, nexts, lasts]) buffer.transfer(0);
  return ordered;
}

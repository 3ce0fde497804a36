import { type Detail, detail, inEnglish } from '../errors/details.ts';
import { cleanPath } from './clean-path.ts';
import { textOf } from './columns.ts';
import { createFileTree, type FileTree, KINDS, type LayerChanges } from './file-tree.ts';
import { type LayerTable, TYPES } from './layer-table.ts';
import { createNodeStore } from './node-store.ts';

/** A layer that container engines refuse to unpack. */
export class UnusableLayer extends Error {
  override readonly name = 'UnusableLayer';
  /** The index of the layer. */
  readonly layer: number;

  readonly reason: Detail;

  constructor(layer: number, reason: Detail) {
    super(inEnglish([reason]));
    this.layer = layer;
    this.reason = reason;
  }
}

/** Maximum number of nodes. Directories without an entry of their own count as well. */
export const NODES_MAX = 2_000_000;

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** AUFS metadata at the root of a layer, which engines skip. */
const AUFS = '.wh..wh.';
/** AUFS kept files here that have several names. */
const AUFS_LINKS = '.wh..wh.plnk/';
/** Maximum bytes of a name in Linux file systems. */
const NAME_MAX = 255;
/** Maximum bytes of a path, as in Linux, because engines could not create a longer one. */
const PATH_MAX = 4095;
/** Symbolic links that are followed for the directory of one entry. */
const LINKS_MAX = 255;
/** Entries between two yields: a few milliseconds. */
const STEP = 4096;
/** The initial capacity for directories without an entry of their own, in nodes. */
const SPARE = 64;
const [DIRECTORY, SYMLINK, HARDLINK] = (['directory', 'symlink', 'hardlink'] as const).map((type) =>
  TYPES.indexOf(type),
);

/**
 * Merges the layers of an image by the rules of the image specification, as containerd does it with overlayfs. Yields
 * between steps, so that a large image does not hold up the event loop.
 *
 * - A whiteout hides what lower layers have, whatever its position in its own layer.
 * - A symbolic link of the same layer is followed to the directory of an entry.
 * - A symbolic link of a lower layer is replaced by a directory, as in overlayfs.
 * - A hard link is a further name of the file that its target was at this point, even if that name is removed later.
 *
 * @throws UnusableLayer
 * @see https://github.com/opencontainers/image-spec/blob/main/layer.md#applying-changesets
 * @see https://github.com/containerd/containerd/blob/v2.2.0/pkg/archive/tar.go applyNaive
 */
export function* mergeLayers(layers: readonly LayerTable[]): Generator<void, FileTree> {
  const total = layers.reduce((sum, { count }) => sum + count, 0);
  let capacity = Math.min(total, NODES_MAX) + SPARE;
  const nodes = createNodeStore(capacity);
  let kinds = new Uint8Array(capacity);
  let [data, metadata, touched] = [ints(capacity), ints(capacity), ints(capacity)];
  /** The layer that emptied a directory, plus one. Zero means none, so most of this memory stays untouched and free. */
  let pruned = ints(capacity);
  [kinds[0], data[0], metadata[0], touched[0]] = [KINDS.directory, -1, -1, -1];
  const changes: LayerChanges[] = [];
  const bases: number[] = [];
  let base = 0;
  let layer = 0;

  const refuse = (reason: Detail): UnusableLayer => new UnusableLayer(layer, reason);
  const isPresent = (node: number): boolean => node !== -1 && (kinds[node] ?? 0) >= KINDS.directory;

  const remove = (node: number): void => {
    kinds[node] = kinds[node] === KINDS.directory ? KINDS.removedDirectory : KINDS.absent;
    cached = undefined;
  };

  /** Resizes all columns. `transfer` frees the old memory at once, and the garbage collector would not. */
  const resize = (length: number): void => {
    capacity = length;
    kinds = new Uint8Array(kinds.buffer.transfer(length));
    [data, metadata, touched, pruned] = [
      ...[moved(data, length), moved(metadata, length), moved(touched, length), moved(pruned, length)],
    ] as const;
  };

  /** Replaces any node with this name by a node of this kind without children, and returns its number. */
  const place = (parent: number, name: Buffer, kind: number): number => {
    const before = nodes.find(parent, name);
    if (before !== -1 && isPresent(before)) remove(before);
    // The children of a removed directory still name it as their parent.
    const isReusable = before !== -1 && kinds[before] === KINDS.absent;
    const node = isReusable ? before : nodes.add(parent, name);
    if (nodes.count > NODES_MAX) throw refuse(detail('entries-exceeded', { limit: NODES_MAX }));
    if (node >= capacity) resize(Math.ceil(capacity * 1.5));
    kinds[node] = kind;
    data[node] = -1;
    metadata[node] = -1;
    touched[node] = layer;
    if (pruned[node] !== 0) pruned[node] = 0;
    return node;
  };

  const linkOf = (node: number): string => {
    const entry = data[node] ?? 0;
    let at = bases.length - 1;
    while (at > 0 && (bases[at] ?? 0) > entry) at -= 1;
    const table = layers[at];
    return table === undefined ? '' : textOf(table.columns.links, entry - (bases[at] ?? 0));
  };

  /** Finds a directory, and creates it and its parents if they are missing. */
  const enter = (path: string): number => {
    const left = path.split('/').reverse();
    let node = 0;
    for (let links = 0; left.length > 0; ) {
      const name = left.pop();
      if (name === undefined || name === '' || name === '.') continue;
      if (name === '..') {
        node = nodes.parentOf(node);
        continue;
      }
      const bytes = Buffer.from(name, 'latin1');
      const child = nodes.find(node, bytes);
      if (isPresent(child) && kinds[child] === KINDS.directory) {
        touched[child] = layer;
        node = child;
        continue;
      }
      if (!isPresent(child) || touched[child] !== layer) {
        checkName(node, bytes);
        node = place(node, bytes, KINDS.directory);
        continue;
      }
      if (kinds[child] !== KINDS.symlink) throw refuse(detail('entry-below-file', {}));
      links += 1;
      if (links > LINKS_MAX) throw refuse(detail('entry-below-loop', {}));
      const link = linkOf(child);
      if (link.startsWith('/')) node = 0;
      left.push(...link.split('/').reverse());
    }
    return node;
  };

  const checkName = (parent: number, name: Buffer): void => {
    if (name.length > NAME_MAX) throw refuse(detail('entry-name-long', { limit: NAME_MAX }));
    if (nodes.pathLength(parent) + 1 + name.length > PATH_MAX)
      throw refuse(detail('entry-path-long', { limit: PATH_MAX }));
  };

  /** Removes all below a directory that this layer does not have. */
  const prune = (directory: number): void => {
    const left = [directory];
    for (let node = left.pop(); node !== undefined; node = left.pop()) {
      if (pruned[node] === layer + 1) continue;
      pruned[node] = layer + 1;
      for (const child of nodes.children(node)) {
        if (!isPresent(child)) continue;
        if (touched[child] !== layer) remove(child);
        else if (kinds[child] === KINDS.directory) {
          forgetLower(child);
          left.push(child);
        }
      }
    }
  };

  /** A directory does not inherit metadata from a hidden lower one. */
  const forgetLower = (directory: number): void => {
    if ((metadata[directory] ?? -1) >= base) return;
    data[directory] = -1;
    metadata[directory] = -1;
  };

  const whiteout = (parent: number, name: string): void => {
    if (name === '' || name === '.' || name === '..') throw refuse(detail('entry-whiteout', {}));
    const node = nodes.find(parent, Buffer.from(name, 'latin1'));
    if (!isPresent(node)) return;
    if (touched[node] !== layer) remove(node);
    else if (kinds[node] === KINDS.directory) {
      forgetLower(node);
      prune(node);
    }
  };

  /** Finds the file that a hard link names, at this point of the layer. */
  const targetOf = (link: string): number | undefined => {
    const path = cleanPath(link);
    const slash = path.lastIndexOf('/');
    const left = path.slice(0, Math.max(slash, 0)).split('/').reverse();
    let node = 0;
    for (let links = 0; left.length > 0; ) {
      const name = left.pop();
      if (name === undefined || name === '' || name === '.') continue;
      const child = name === '..' ? nodes.parentOf(node) : nodes.find(node, Buffer.from(name, 'latin1'));
      if (!isPresent(child)) return undefined;
      if (kinds[child] !== KINDS.symlink) {
        node = child;
        continue;
      }
      links += 1;
      if (links > LINKS_MAX) return undefined;
      const target = linkOf(child);
      if (target.startsWith('/')) node = 0;
      left.push(...target.split('/').reverse());
    }
    const found = nodes.find(node, Buffer.from(path.slice(slash + 1), 'latin1'));
    return isPresent(found) && kinds[found] !== KINDS.directory ? found : undefined;
  };

  /** The directory of the entry before, which most entries share. */
  let cached: { readonly path: string; readonly node: number } | undefined;

  for (const table of layers) {
    const { paths, links, types } = table.columns;
    bases.push(base);
    cached = undefined;
    /** Files that AUFS hid under names of their own. */
    const aufs = new Map<string, number>();
    let [added, changed] = [0, 0];

    /** Counts a file as added or as replaced. */
    const count = (before: number): void => {
      if (!isPresent(before)) added += 1;
      else if (touched[before] !== layer) changed += 1;
    };

    const apply = (at: number): void => {
      const entry = base + at;
      const type = types[at];
      const path = textOf(paths, at);
      if (path === '') {
        if (type !== DIRECTORY) throw refuse(detail('entry-root', {}));
        data[0] = entry;
        metadata[0] = entry;
        return;
      }
      if (path.startsWith(AUFS) && path !== OPAQUE) {
        if (path.startsWith(AUFS_LINKS)) aufs.set(path, entry);
        return;
      }
      const slash = path.lastIndexOf('/');
      const directory = path.slice(0, Math.max(slash, 0));
      const parent = cached?.path === directory ? cached.node : enter(directory);
      cached = { path: directory, node: parent };
      const name = path.slice(slash + 1);
      if (name === OPAQUE) prune(parent);
      else if (name.startsWith(WHITEOUT)) whiteout(parent, name.slice(WHITEOUT.length));
      else addEntry(parent, Buffer.from(name, 'latin1'), at);
    };

    const addEntry = (parent: number, name: Buffer, at: number): void => {
      checkName(parent, name);
      const [entry, type] = [base + at, types[at]];
      if (type === HARDLINK) {
        addName(parent, name, textOf(links, at), entry);
        return;
      }
      const before = nodes.find(parent, name);
      const isMerged = type === DIRECTORY && isPresent(before) && kinds[before] === KINDS.directory;
      if (type !== DIRECTORY) count(before);
      const kind = type === DIRECTORY ? KINDS.directory : type === SYMLINK ? KINDS.symlink : KINDS.other;
      const node = isMerged ? before : place(parent, name, kind);
      touched[node] = layer;
      data[node] = entry;
      metadata[node] = entry;
    };

    const addName = (parent: number, name: Buffer, link: string, entry: number): void => {
      const kept = aufs.get(cleanPath(link));
      const target = kept === undefined ? targetOf(link) : undefined;
      const before = nodes.find(parent, name);
      if (kept === undefined && (target === undefined || target === before))
        throw refuse(detail('entry-link-target', {}));
      const kind = target === undefined ? KINDS.other : (kinds[target] ?? KINDS.other);
      count(before);
      const content = kept ?? data[target ?? 0] ?? entry;
      const node = place(parent, name, kind);
      data[node] = content;
      metadata[node] = entry;
    };

    for (let at = 0; at < table.count; at++) {
      apply(at);
      if (at % STEP === 0) yield;
    }
    changes.push({ added, changed });
    base += table.count;
    layer += 1;
  }
  for (const { buffer } of [touched, pruned]) buffer.transfer(0);
  nodes.shrink();
  kinds = new Uint8Array(kinds.buffer.transfer(nodes.count));
  [data, metadata] = [moved(data, nodes.count), moved(metadata, nodes.count)];
  return createFileTree({ layers, changes, bases, nodes, kinds, data, metadata });
}

function ints(length: number): Int32Array<ArrayBuffer> {
  return new Int32Array(length);
}

/** Moves numbers to memory of another length. */
function moved({ buffer }: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  return new Int32Array(buffer.transfer(length * 4));
}

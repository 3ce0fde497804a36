import type { Buffer } from 'node:buffer';
import { createBytes } from './columns.ts';

/** The nodes of a file tree, by number. A parent always has a smaller number than its children. The root is 0. */
export interface NodeStore {
  readonly count: number;
  /** Finds the node with this name in a directory, present or not; -1 if there never was one. */
  find(parent: number, name: Buffer): number;
  /** Adds a node in place of any other with this name. */
  add(parent: number, name: Buffer): number;
  /** The name of a node, as bytes in Latin-1. */
  text(node: number): string;
  /** Compares the names of two nodes by their bytes: negative if the first is less. */
  compareNames(one: number, other: number): number;
  parentOf(node: number): number;
  /** Bytes of the path of a node, at most 65,535. */
  pathLength(node: number): number;
  /** Lists the nodes that were added to a directory, present or not, the latest first. */
  children(node: number): Iterable<number>;
  /** Frees the unused capacity. */
  shrink(): void;
  /** Bytes. */
  readonly bytes: number;
}

/** Marks a free slot in the table of names, and the end of a list of children. The root is in neither. */
const NONE = 0;
/** The assumed bytes of a name, for the initial capacity. */
const NAME_BYTES = 16;
/** The maximum share of used slots in the table of names. */
const LOAD = 0.75;

/**
 * Creates the root. Nodes are rows of typed arrays, because objects and maps for two million files would take a
 * gigabyte.
 *
 * @param expected the approximate number of nodes, if known. It saves copies, and unused memory costs nothing.
 */
export function createNodeStore(expected = 1024): NodeStore {
  let capacity = Math.max(expected, 16);
  let [parents, firsts, nexts] = [ints(capacity), ints(capacity), ints(capacity)];
  let nameEnds = new Uint32Array(capacity);
  let pathLengths = new Uint16Array(capacity);
  const names = createBytes(capacity * NAME_BYTES);
  let text = names.reserve(0);
  /** An open hash table of nodes by their directory and name. */
  let slots = ints(2 ** Math.ceil(Math.log2(capacity / LOAD)));
  let count = 1;
  // A random seed, so that an image cannot contain names that are chosen to collide.
  const seed = (Math.random() * 0x1_0000_0000) | 0;

  const startOf = (node: number): number => (node === 0 ? 0 : (nameEnds[node - 1] ?? 0));
  const nameOf = (node: number): Buffer => text.subarray(startOf(node), nameEnds[node]);

  const slotOf = (parent: number, name: Buffer): number => {
    let hash = Math.imul(seed ^ parent, 0x9e37_79b1);
    for (let at = 0; at < name.length; at++) {
      hash = Math.imul(hash ^ (name[at] ?? 0), 0x0100_0193);
      hash ^= hash >>> 15;
    }
    const mask = slots.length - 1;
    for (let slot = Math.imul(hash, 0x85eb_ca6b) >>> 3; ; slot++) {
      const node = slots[slot & mask] ?? NONE;
      if (node === NONE || (parents[node] === parent && nameOf(node).equals(name))) return slot & mask;
    }
  };

  /** Resizes all columns. `transfer` frees the old memory at once, and the garbage collector would not. */
  const resize = (length: number): void => {
    capacity = length;
    [parents, firsts, nexts] = [parents, firsts, nexts].map(
      ({ buffer }) => new Int32Array(buffer.transfer(length * 4)),
    ) as [Int32Array<ArrayBuffer>, Int32Array<ArrayBuffer>, Int32Array<ArrayBuffer>];
    nameEnds = new Uint32Array(nameEnds.buffer.transfer(length * 4));
    pathLengths = new Uint16Array(pathLengths.buffer.transfer(length * 2));
  };
  const rehash = (): void => {
    const before = slots;
    slots = ints(before.length * 2);
    for (const node of before) if (node !== NONE) slots[slotOf(parents[node] ?? 0, nameOf(node))] = node;
    before.buffer.transfer(0);
  };

  return {
    get count() {
      return count;
    },
    find: (parent, name) => slots[slotOf(parent, name)] || -1,
    add(parent, name) {
      if (count === capacity) resize(Math.ceil(capacity * 1.5));
      if (count > slots.length * LOAD) rehash();
      text = names.reserve(name.length);
      name.copy(text, names.length);
      names.length += name.length;
      const slot = slotOf(parent, name);
      const node = count++;
      nameEnds[node] = names.length;
      parents[node] = parent;
      pathLengths[node] = (parent === 0 ? 0 : (pathLengths[parent] ?? 0) + 1) + name.length;
      nexts[node] = firsts[parent] ?? NONE;
      firsts[parent] = node;
      slots[slot] = node;
      return node;
    },
    text: (node) => text.toString('latin1', startOf(node), nameEnds[node]),
    compareNames: (one, other) =>
      text.compare(text, startOf(other), nameEnds[other], startOf(one), nameEnds[one]),
    parentOf: (node) => parents[node] ?? 0,
    pathLength: (node) => pathLengths[node] ?? 0,
    *children(node) {
      for (let child = firsts[node] ?? NONE; child !== NONE; child = nexts[child] ?? NONE) yield child;
    },
    shrink() {
      resize(count);
      text = names.done();
    },
    get bytes() {
      const columns = [parents, firsts, nexts, nameEnds, pathLengths, text, slots];
      return columns.reduce((sum, { byteLength }) => sum + byteLength, 0);
    },
  };
}

function ints(length: number): Int32Array<ArrayBuffer> {
  return new Int32Array(length);
}

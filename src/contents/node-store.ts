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
  /** Bytes. */
  readonly bytes: number;
}

/** A free place in the table of names. */
const FREE = -1;

/**
 * Creates the root. Nodes are rows of typed arrays, because objects and maps for two million files would take a
 * gigabyte.
 */
export function createNodeStore(): NodeStore {
  let capacity = 1024;
  let [parents, firsts, nexts] = [ints(capacity), ints(capacity).fill(FREE), ints(capacity).fill(FREE)];
  let nameEnds = new Uint32Array(capacity);
  let pathLengths = new Uint16Array(capacity);
  let names = Buffer.allocUnsafe(16 * 1024);
  /** An open hash table of nodes by their directory and name. */
  let slots = ints(capacity * 2).fill(FREE);
  let count = 1;
  // A random seed, so that an image cannot contain names that are chosen to collide.
  const seed = (Math.random() * 0x1_0000_0000) | 0;

  const startOf = (node: number): number => (node === 0 ? 0 : (nameEnds[node - 1] ?? 0));
  const nameOf = (node: number): Buffer => names.subarray(startOf(node), nameEnds[node]);

  const slotOf = (parent: number, name: Buffer): number => {
    let hash = Math.imul(seed ^ parent, 0x9e37_79b1);
    for (let at = 0; at < name.length; at++) {
      hash = Math.imul(hash ^ (name[at] ?? 0), 0x0100_0193);
      hash ^= hash >>> 15;
    }
    const mask = slots.length - 1;
    for (let slot = Math.imul(hash, 0x85eb_ca6b) >>> 3; ; slot++) {
      const node = slots[slot & mask] ?? FREE;
      if (node === FREE || (parents[node] === parent && nameOf(node).equals(name))) return slot & mask;
    }
  };

  const grow = (): void => {
    capacity *= 2;
    parents = larger(parents, ints(capacity));
    firsts = larger(firsts, ints(capacity).fill(FREE));
    nexts = larger(nexts, ints(capacity).fill(FREE));
    nameEnds = larger(nameEnds, new Uint32Array(capacity));
    pathLengths = larger(pathLengths, new Uint16Array(capacity));
    const before = slots;
    slots = ints(capacity * 2).fill(FREE);
    for (const node of before) if (node !== FREE) slots[slotOf(parents[node] ?? 0, nameOf(node))] = node;
  };

  return {
    get count() {
      return count;
    },
    find: (parent, name) => slots[slotOf(parent, name)] ?? FREE,
    add(parent, name) {
      if (count === capacity) grow();
      const start = nameEnds[count - 1] ?? 0;
      const end = start + name.length;
      if (end > names.length)
        names = Buffer.concat([names.subarray(0, start)], Math.max(names.length * 2, end));
      name.copy(names, start);
      const slot = slotOf(parent, name);
      const node = count++;
      nameEnds[node] = end;
      parents[node] = parent;
      pathLengths[node] = (parent === 0 ? 0 : (pathLengths[parent] ?? 0) + 1) + name.length;
      nexts[node] = firsts[parent] ?? FREE;
      firsts[parent] = node;
      slots[slot] = node;
      return node;
    },
    text: (node) => names.toString('latin1', startOf(node), nameEnds[node]),
    compareNames: (one, other) =>
      names.compare(names, startOf(other), nameEnds[other], startOf(one), nameEnds[one]),
    parentOf: (node) => parents[node] ?? 0,
    pathLength: (node) => pathLengths[node] ?? 0,
    *children(node) {
      for (let child = firsts[node] ?? FREE; child !== FREE; child = nexts[child] ?? FREE) yield child;
    },
    get bytes() {
      const columns = [parents, firsts, nexts, nameEnds, pathLengths, names, slots];
      return columns.reduce((sum, { byteLength }) => sum + byteLength, 0);
    },
  };
}

function ints(length: number): Int32Array<ArrayBuffer> {
  return new Int32Array(length);
}

function larger<T extends Int32Array | Uint32Array | Uint16Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

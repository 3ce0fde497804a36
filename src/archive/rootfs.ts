import { createHash } from 'node:crypto';
import type { FileTree, TreeFile } from '../contents/file-tree.ts';
import type { ByteRange, Descriptor } from '../oci/descriptor.ts';
import { entryHeader, entryHeaderSize, type WrittenEntry } from '../tar/entry-header.ts';
import type { ArchiveImage } from './entries.ts';
import type { Layout, Slice } from './layout.ts';
import type { Spliced } from './splice.ts';
import { TAR_END } from './tar.ts';

/** The merged files of an image, with the blobs in which their data is. */
export interface UnpackedImage {
  /** From the base upwards, as many as the tree has. */
  readonly layers: readonly Descriptor[];
  /** The digests of the unpacked layers. */
  readonly diffIds: readonly string[];
  readonly tree: FileTree;
}

/** An image with everything that an archive of its files needs. */
export interface NamedImage extends UnpackedImage, Pick<ArchiveImage, 'reference' | 'config'> {
  readonly configBytes: Uint8Array;
}

/** The version of this composition, see LAYOUT_VERSION in layout.ts. */
const ROOTFS_VERSION = 1;
/** Entries between two known offsets. */
const STEP = 512;
const BLOCK = 512;
const ZEROS = new Uint8Array(64 * 1024);

/**
 * Lays out a root file system as a tar archive: all directories, then the files of each layer in the layer's order.
 * Sending it takes one pass over each layer. A file with several names has its data at the first, and hard links at the
 * others.
 *
 * @param below lays out what is below this directory only, with paths relative to it
 */
export function* layoutRootfs(image: UnpackedImage, below = 0): Generator<void, Layout> {
  const { tree, layers, diffIds } = image;
  const prefix = below === 0 ? '' : `${tree.path(below)}/`;
  const isWanted = tree.below(below);
  const sections = [
    yield* section({ tree, nodes: keep(tree.directories(), isWanted), prefix, blob: undefined }),
  ];
  const files = keep(tree.files(), isWanted);
  let from = 0;
  for (const [layer, blob] of layers.entries()) {
    let to = from;
    while (to < files.length && tree.dataLayer(files[to] ?? 0) === layer) to += 1;
    sections.push(yield* section({ tree, nodes: files.subarray(from, to), prefix, blob }));
    from = to;
  }
  const slices: Slice[] = [];
  let offset = 0;
  for (const content of [...sections.filter(({ size }) => size > 0), TAR_END]) {
    slices.push({ offset, content });
    offset += content instanceof Uint8Array ? content.length : content.size;
  }
  return { size: offset, etag: etagOf(diffIds, prefix), slices };
}

/** Lays out the content of one file of an image. */
export function layoutFile({ tree, layers, diffIds }: UnpackedImage, node: number): Layout {
  const { size } = tree.file(node);
  const content: Spliced = {
    blob: layers[tree.dataLayer(node)],
    size,
    parts: (from) => without(dataOf(tree.file(node)), from),
  };
  const slices = size === 0 ? [] : [{ offset: 0, content }];
  return { size, etag: etagOf(diffIds, tree.path(node), 'file'), slices };
}

/** Filters nodes in place. `Int32Array.filter` would first collect the numbers in V8's heap. */
function keep(nodes: Int32Array, isWanted: (node: number) => boolean): Int32Array {
  let count = 0;
  for (const node of nodes) if (isWanted(node)) nodes[count++] = node;
  return nodes.subarray(0, count);
}

/** The archive is a function of the unpacked layers, and so is its ETag. */
function etagOf(diffIds: readonly string[], part: string, kind = 'rootfs'): string {
  const identity = createHash('sha256').update(JSON.stringify([diffIds, part]));
  return `"${kind}${ROOTFS_VERSION}-${identity.digest('hex')}"`;
}

/** Nodes that follow each other in the archive and have their data in one blob. */
interface Run {
  readonly tree: FileTree;
  readonly nodes: Int32Array;
  /** The start of all paths, which entries omit. */
  readonly prefix: string;
  readonly blob: Descriptor | undefined;
}

function* section(run: Run): Generator<void, Spliced> {
  const offsets: number[] = [];
  /** The first name of the file at each of the offsets. */
  const firsts: number[] = [];
  let size = 0;
  for (const { at, first, entry } of entriesOf(run, 0, 0)) {
    if (at % STEP === 0) {
      offsets.push(size);
      firsts.push(first);
      yield;
    }
    size += lengthOf(entry);
  }
  return {
    blob: run.blob,
    size,
    *parts(from) {
      const step = lastAtMost(offsets, from);
      const block = Buffer.allocUnsafe(BLOCK);
      let skip = from - (offsets[step] ?? 0);
      for (const { file, entry } of entriesOf(run, step * STEP, firsts[step] ?? 0)) {
        if (skip === 0) {
          yield* contentOf(file, entry, block);
          continue;
        }
        const length = lengthOf(entry);
        if (skip < length) yield* without(contentOf(file, entry, block), skip);
        skip = Math.max(skip - length, 0);
      }
    },
  };
}

interface Positioned {
  readonly at: number;
  readonly file: TreeFile;
  /** The position of the first name of the same file. */
  readonly first: number;
  readonly entry: WrittenEntry;
}

/**
 * Describes entries from a position on. Names of a file after its first are hard links to the first. The metadata of
 * all is that of the last name, as if an engine had unpacked them.
 */
function* entriesOf(
  { tree, nodes, prefix, blob }: Run,
  start: number,
  startOfFile: number,
): Generator<Positioned> {
  const pathOf = (at: number): string => tree.path(nodes[at] ?? 0).slice(prefix.length);
  const endOf = (first: number): number => {
    let end = first + 1;
    if (blob === undefined) return end;
    const data = tree.dataIndex(nodes[first] ?? 0);
    while (end < nodes.length && tree.dataIndex(nodes[end] ?? 0) === data) end += 1;
    return end;
  };
  let first = startOfFile;
  let end = endOf(first);
  for (let at = start; at < nodes.length; at++) {
    if (at === end) {
      first = at;
      end = endOf(at);
    }
    const file = tree.file(nodes[end - 1] ?? 0);
    const path = pathOf(at);
    const entry: WrittenEntry =
      at === first ? { ...file, path } : { ...file, type: 'hardlink', path, link: pathOf(first), size: 0 };
    yield { at, file, first, entry };
  }
}

function lengthOf(entry: WrittenEntry): number {
  return entryHeaderSize(entry) + padded(entry.type === 'file' ? entry.size : 0);
}

/**
 * Lists the header of an entry, its data, and its padding. A sparse file has several stretches, with zeros between.
 *
 * @param block as in {@link entryHeader}; reused for each header
 */
function* contentOf(file: TreeFile, entry: WrittenEntry, block: Buffer): Generator<Uint8Array | ByteRange> {
  yield entryHeader(entry, block);
  const { type, size } = entry;
  if (type !== 'file' || size === 0) return;
  if (file.segments === undefined) yield { start: file.offset, end: file.offset + size };
  else yield* dataOf(file);
  if (size % BLOCK > 0) yield ZEROS.subarray(0, padded(size) - size);
}

function* dataOf({
  size,
  offset,
  segments = [{ offset: 0, length: size }],
}: TreeFile): Generator<Uint8Array | ByteRange> {
  let [position, stored] = [0, offset];
  for (const segment of segments) {
    yield* zeros(segment.offset - position);
    if (segment.length > 0) yield { start: stored, end: stored + segment.length };
    position = segment.offset + segment.length;
    stored += segment.length;
  }
  yield* zeros(size - position);
}

/** Yields the same buffer repeatedly, because a hole may have terabytes. */
function* zeros(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= ZEROS.length) yield ZEROS.subarray(0, left);
}

function* without(parts: Iterable<Uint8Array | ByteRange>, bytes: number): Generator<Uint8Array | ByteRange> {
  let left = bytes;
  for (const part of parts) {
    const length = part instanceof Uint8Array ? part.length : part.end - part.start;
    const skipped = Math.min(left, length);
    left -= skipped;
    if (skipped === length) continue;
    yield part instanceof Uint8Array
      ? part.subarray(skipped)
      : { start: part.start + skipped, end: part.end };
  }
}

function lastAtMost(offsets: readonly number[], value: number): number {
  const after = offsets.findIndex((offset) => offset > value);
  return after === -1 ? Math.max(offsets.length - 1, 0) : after - 1;
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

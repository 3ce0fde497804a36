import { createHash } from 'node:crypto';
import type { ByteRange, Descriptor } from '../oci/descriptor.ts';
import type { Spliced } from './splice.ts';
import { concat, TAR_END, tarFolder, tarHeader, tarPadding } from './tar.ts';

/** Bytes in memory, or a blob that must be read. */
export type Content = Uint8Array | Descriptor;

/** A file in the archive. */
export interface Entry {
  readonly path: string;
  readonly content: Content;
}

/** A stretch of the archive with one origin, from `offset` on. */
export interface Slice {
  readonly offset: number;
  readonly content: Content | Spliced;
}

/** Everything about an archive that follows without reading a blob. */
export interface Layout {
  /** Bytes of the whole file. */
  readonly size: number;
  /** A strong validator, quotes included: equal only for equal bytes. */
  readonly etag: string;
  /** Without gaps, from the first byte to the last. */
  readonly slices: readonly Slice[];
}

/** A part of a slice: `range` counts from the beginning of `content`. */
export interface Piece {
  readonly content: Content | Spliced;
  readonly range: ByteRange;
}

/**
 * The version of the composition: what goes into an archive, in which order, with which headers. It must change with
 * any of them, since clients and caches continue a download by its ETag.
 */
const LAYOUT_VERSION = 3;

/**
 * Fixes the position of every byte in a tar of these entries, in their order. Each folder has an entry before its first
 * file, because Apptainer and other readers only create folders that have an entry.
 */
export function layoutArchive(entries: readonly Entry[]): Layout {
  const identity = createHash('sha256');
  const slices: Slice[] = [];
  let offset = 0;
  let inline: Uint8Array[] = [];
  const folders = new Set<string>();

  const add = (content: Content): void => {
    slices.push({ offset, content });
    offset += contentSize(content);
  };
  const flush = (): void => {
    const bytes = concat(inline);
    inline = [];
    identity.update(bytes);
    if (bytes.length > 0) add(bytes);
  };

  for (const { path, content } of entries) {
    const size = contentSize(content);
    for (const folder of foldersOf(path)) {
      if (!folders.has(folder)) inline.push(tarFolder(folder));
      folders.add(folder);
    }
    inline.push(tarHeader(path, size));
    if (content instanceof Uint8Array) {
      inline.push(content);
    } else {
      flush();
      identity.update(content.digest);
      add(content);
    }
    inline.push(tarPadding(size));
  }
  inline.push(TAR_END);
  flush();
  return { size: offset, etag: `"${LAYOUT_VERSION}-${identity.digest('hex')}"`, slices };
}

/** Lays out one file without a tar around it. The path is not part of its bytes. */
export function layoutFile([file]: readonly Entry[]): Layout {
  if (file === undefined) throw new RangeError('Expected a file');
  const { content } = file;
  const identity = createHash('sha256').update('file ');
  identity.update(content instanceof Uint8Array ? content : content.digest);
  return {
    size: contentSize(content),
    etag: `"${LAYOUT_VERSION}-${identity.digest('hex')}"`,
    slices: [{ offset: 0, content }],
  };
}

/** Cuts a range out of a layout: the pieces that, one after the other, are its bytes. */
export function cutRange(layout: Layout, range: ByteRange): Piece[] {
  const pieces: Piece[] = [];
  for (const { offset, content } of layout.slices) {
    const start = Math.max(range.start - offset, 0);
    const end = Math.min(range.end - offset, contentSize(content));
    if (start < end) pieces.push({ content, range: { start, end } });
  }
  return pieces;
}

/** Lists the folders that contain a path, outermost first: `blobs/`, `blobs/sha256/`. */
function foldersOf(path: string): string[] {
  return [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index + 1));
}

/** Returns the size of a content in bytes. */
export function contentSize(content: Content | Spliced): number {
  return content instanceof Uint8Array ? content.length : content.size;
}

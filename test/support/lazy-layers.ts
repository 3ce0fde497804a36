import { gzipSync, zstdCompressSync } from 'node:zlib';
import { padding, tarOf, type Written } from '../contents/layers.ts';
import { blob, type Layer, layerMediaType, sha256 } from './images.ts';

/** An entry of a table of contents as its writers make it. */
export type TocEntry = Readonly<Record<string, unknown>>;
/** Changes the entries of a table before it is written. */
export type ChangeToc = (entries: TocEntry[]) => readonly TocEntry[];

const TYPES: Readonly<Record<string, string>> = {
  file: 'reg',
  directory: 'dir',
  character: 'char',
};
const CHUNK = 4096;

/**
 * Makes an eStargz layer: a gzip member for each file, then one for the table, then the footer with its position.
 *
 * @see https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md
 */
export function estargzLayer(files: readonly Written[], change: ChangeToc = (same) => same): Layer {
  const members: Buffer[] = [];
  const tars: Buffer[] = [];
  let offset = 0;
  const add = (tar: Buffer): void => {
    const member = gzipSync(tar);
    tars.push(tar);
    members.push(member);
    offset += member.length;
  };
  const entries: TocEntry[] = [];
  for (const file of files) {
    const { data = Buffer.alloc(0) } = file;
    const header = withoutEnd(tarOf([file])).subarray(0, -(data.length + padding(data.length)) || undefined);
    add(header);
    entries.push(tocEntry(file, { modtime: timeOf(file).replace(/\.\d+/, ''), offset }));
    for (let at = CHUNK; at < data.length; at += CHUNK)
      entries.push({ name: textOf(file.path), type: 'chunk', chunkOffset: at, offset });
    if (data.length > 0) add(Buffer.concat([data, Buffer.alloc(padding(data.length))]));
  }
  const toc = tocOf(change(entries));
  const position = offset;
  add(tarOf([{ path: 'stargz.index.json', mode: 0, data: toc }]));
  const extra = Buffer.from(`SG\x16\0${position.toString(16).padStart(16, '0')}STARGZ`, 'latin1');
  const footer = Buffer.concat([
    Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, extra.length, 0]),
    extra,
    Buffer.from([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]),
  ]);
  const annotations = { 'containerd.io/snapshot/stargz/toc.digest': sha256(toc) };
  return {
    ...blob(layerMediaType.gzip, Buffer.concat([...members, footer]), { annotations }),
    diffId: sha256(Buffer.concat(tars)),
  };
}

/**
 * Makes a zstd:chunked layer: the content, then the compressed table and a footer in skippable frames.
 *
 * @see https://github.com/containers/storage/blob/main/pkg/chunked/internal/minimal/compression.go
 */
export function zstdChunkedLayer(files: readonly Written[], change: ChangeToc = (same) => same): Layer {
  const tar = tarOf(files);
  const content = zstdCompressSync(tar);
  const toc = tocOf(change(files.map((file) => tocEntry(file, { modtime: timeOf(file) }))));
  const packed = zstdCompressSync(toc);
  const position = `${content.length + 8}:${packed.length}:${toc.length}:1`;
  const annotations = {
    'io.github.containers.zstd-chunked.manifest-checksum': sha256(packed),
    'io.github.containers.zstd-chunked.manifest-position': position,
  };
  const bytes = Buffer.concat([content, skippable(packed), skippable(Buffer.alloc(64))]);
  return { ...blob(layerMediaType.zstd, bytes, { annotations }), diffId: sha256(tar) };
}

function tocOf(entries: readonly TocEntry[]): Buffer {
  return Buffer.from(JSON.stringify({ version: 1, entries }));
}

function tocEntry(file: Written, more: TocEntry): TocEntry {
  const { path, type = 'file', link, mode = 0o644, uid, gid, data, device } = file;
  return {
    name: textOf(type === 'directory' ? `${path}/` : path),
    type: TYPES[type] ?? type,
    ...(data?.length && { size: data.length }),
    ...(link && { linkName: textOf(link) }),
    ...{ mode, uid, gid, devMajor: device?.[0], devMinor: device?.[1] },
    ...more,
  };
}

/** Go's writer of JSON puts U+FFFD for bytes that are not UTF-8. */
function textOf(path: string): string {
  return Buffer.from(path, 'latin1').toString();
}

function timeOf({ mtime = 0, nanoseconds = 0 }: Written): string {
  return new Date(mtime * 1000).toISOString().replace(/\.\d+/, `.${`${nanoseconds}`.padStart(9, '0')}`);
}

function withoutEnd(tar: Buffer): Buffer {
  return tar.subarray(0, -1024);
}

function skippable(bytes: Buffer): Buffer {
  const head = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
  head.writeUInt32LE(bytes.length, 4);
  return Buffer.concat([head, bytes]);
}

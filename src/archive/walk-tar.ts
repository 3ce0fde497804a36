import { posix } from 'node:path';
import { tarPadding } from './tar.ts';

/** An entry of a tar archive, as its headers state it. */
export interface TarEntry {
  /** The name without a leading `./` or trailing slash. Long names from pax and GNU headers are applied. */
  readonly name: string;
  readonly type: 'file' | 'link' | 'other';
  /** The name of the entry that a hard or symbolic link points at; undefined for other types. */
  readonly target: string | undefined;
  /** Bytes of the content. */
  readonly size: number;
}

/** A part of a tar archive. Its content must be taken or passed on before the next part is requested. */
export interface TarPart {
  /** Undefined for the end of the archive, and for bytes that are not tar. */
  readonly entry: TarEntry | undefined;
  /** The headers of the entry, including pax and GNU headers; at the end, the block that ends the archive. */
  readonly header: Buffer;
  /** Reads the content with its padding, up to `limit` bytes; fewer if the archive ends early. */
  take(limit?: number): Promise<Buffer>;
  /** Yields the rest of the content and its padding, in chunks as received. */
  pass(): AsyncGenerator<Buffer, void>;
}

const BLOCK = 512;
/** Maximum bytes of an extension header. GNU tar and Go write a few hundred. */
const EXTENSION_MAX = 1024 * 1024;

/**
 * Walks through a tar archive from any writer, entry by entry. The parts together are exactly the bytes of the archive.
 *
 * @see https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html (ustar and pax Interchange Format)
 * @see https://www.gnu.org/software/tar/manual/html_node/Standard.html
 */
export async function* walkTar(chunks: AsyncIterable<Buffer>): AsyncGenerator<TarPart, void> {
  const input = createReader(chunks);
  let headers: Buffer[] = [];
  let extension: Extension = {};
  for (;;) {
    const block = await input.take(BLOCK);
    const header = block.length === BLOCK ? readHeader(block) : undefined;
    headers.push(block);
    if (header === undefined) {
      yield partOf(input, undefined, Buffer.concat(headers), Number.POSITIVE_INFINITY);
      return;
    }
    const read = EXTENSIONS[header.type];
    if (read !== undefined && header.size <= EXTENSION_MAX) {
      const record = await input.take(padded(header.size));
      headers.push(record);
      extension = { ...extension, ...read(record.subarray(0, header.size)) };
      continue;
    }
    const entry = entryOf({ ...header, ...extension }, header.type);
    yield partOf(input, entry, Buffer.concat(headers), padded(entry.size));
    headers = [];
    extension = {};
  }
}

/** Fields by which a header overrides the next header. */
interface Extension {
  readonly name?: string;
  readonly link?: string;
  readonly size?: number;
}

interface Header extends Required<Extension> {
  readonly type: string;
}

/** Readers of extension headers, by type. */
const EXTENSIONS: Readonly<Record<string, (record: Buffer) => Extension>> = {
  x: readPax,
  L: (record) => ({ name: textOf(record) }),
  K: (record) => ({ link: textOf(record) }),
};

const FILE_TYPES = new Set(['0', '7']);
const HARD_LINK = '1';
const SYMBOLIC_LINK = '2';
/** Links, devices, directories and FIFOs have no content, whatever size their header states. */
const WITHOUT_CONTENT = new Set('123456');

function entryOf({ name, link, size }: Required<Extension>, type: string): TarEntry {
  const own = cleanName(name);
  const from = type === SYMBOLIC_LINK ? posix.dirname(own) : '.';
  const isLink = type === SYMBOLIC_LINK || type === HARD_LINK;
  return {
    name: own,
    type: isLink ? 'link' : FILE_TYPES.has(type) ? 'file' : 'other',
    target: isLink ? cleanName(posix.join(from, link)) : undefined,
    size: WITHOUT_CONTENT.has(type) ? 0 : size,
  };
}

function cleanName(name: string): string {
  return posix.normalize(name).replace(/(?<=.)\/$/, '');
}

function partOf(input: Reader, entry: TarEntry | undefined, header: Buffer, length: number): TarPart {
  let left = length;
  return {
    entry,
    header,
    async take(limit = left) {
      const content = await input.take(Math.min(limit, left));
      left -= content.length;
      return content;
    },
    async *pass() {
      for await (const chunk of input.pass(left)) {
        left -= chunk.length;
        yield chunk;
      }
    },
  };
}

interface Reader {
  /** Reads this many bytes, or the rest if there are fewer. */
  take(length: number): Promise<Buffer>;
  /** Yields this many bytes, or the rest if there are fewer, in chunks as received. */
  pass(length: number): AsyncGenerator<Buffer, void>;
}

function createReader(chunks: AsyncIterable<Buffer>): Reader {
  const source = chunks[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  const more = async (): Promise<boolean> => {
    const { done, value } = await source.next();
    if (done !== true) rest = value;
    return done !== true;
  };
  const cut = (length: number): Buffer => {
    const head = rest.subarray(0, length);
    rest = rest.subarray(head.length);
    return head;
  };
  const pass = async function* (length: number): AsyncGenerator<Buffer, void> {
    for (let left = length; left > 0; ) {
      if (rest.length === 0 && !(await more())) return;
      const head = cut(left);
      left -= head.length;
      if (head.length > 0) yield head;
    }
  };
  return {
    async take(length) {
      if (rest.length >= length) return cut(length);
      const pieces: Buffer[] = [];
      for await (const piece of pass(length)) pieces.push(piece);
      return Buffer.concat(pieces);
    },
    pass,
  };
}

function padded(size: number): number {
  return size + tarPadding(size).length;
}

function readHeader(block: Buffer): Header | undefined {
  if (block.every((byte) => byte === 0)) return undefined;
  const size = readSize(block.subarray(124, 136));
  if (size === undefined || !Number.isSafeInteger(size)) return undefined;
  // The old GNU format stores times where ustar stores the prefix of a long name.
  const isUstar = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isUstar ? textOf(block.subarray(345, 500)) : '';
  const name = textOf(block.subarray(0, 100));
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    link: textOf(block.subarray(157, 257)),
    size,
    type: String.fromCharCode(block[156] || 0x30),
  };
}

/** Reads a size in octal, or in the base-256 form that GNU tar introduced. */
function readSize(field: Buffer): number | undefined {
  if (((field[0] ?? 0) & 0x80) !== 0) return Number(field.readBigUInt64BE(4));
  const [digits] = /^ *[0-7]+/.exec(field.toString('latin1')) ?? [];
  return digits === undefined ? undefined : Number.parseInt(digits, 8);
}

function textOf(field: Buffer): string {
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end === -1 ? field.length : end);
}

/**
 * Reads pax records, `LENGTH KEY=VALUE\n`. The length counts the whole record, because a value may contain line breaks.
 */
function readPax(records: Buffer): Extension {
  const values = new Map<string, string>();
  for (let at = 0; at < records.length; ) {
    const [start, digits] = /^(\d{1,9}) /.exec(records.toString('latin1', at, at + 10)) ?? [];
    const length = Number(digits);
    if (start === undefined || length <= start.length) break;
    const [, key = '', value = ''] =
      /^([^=]*)=([\s\S]*?)\n?$/.exec(records.toString('utf8', at + start.length, at + length)) ?? [];
    values.set(key, value);
    at += length;
  }
  const [name, link, size] = [values.get('path'), values.get('linkpath'), Number(values.get('size'))];
  return {
    ...(name !== undefined && { name }),
    ...(link !== undefined && { link }),
    ...(Number.isSafeInteger(size) && size >= 0 && { size }),
  };
}

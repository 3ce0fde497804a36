import { createHash } from 'node:crypto';
import type { TextColumn } from './columns.ts';
import type { LayerColumns, LayerTable } from './layer-table.ts';

/**
 * The version of the stored form: a JSON header, then the columns as numbers of variable length. A path omits what it
 * shares with the path before. A data position is stored as its distance from the usual one.
 */
const VERSION = 1;

const encoder = new TextEncoder();
const BLOCK = 512;
/** The sha256 of the content, which precedes it. */
const HASH = 32;

/** Writes a table. The result compresses to some 10 bytes an entry. */
export function encodeTable({ count, unpackedSize, columns }: LayerTable, diffId: string): Buffer {
  const out = createWriter();
  const header = encoder.encode(JSON.stringify({ count, unpackedSize, diffId }));
  out.number(VERSION);
  out.number(header.length);
  out.bytes(header);
  writePaths(out, columns.paths);
  writeTexts(out, columns.links);
  writeTexts(out, columns.rarities);
  out.bytes(columns.types);
  for (const column of [columns.modes, columns.uids, columns.gids, columns.sizes])
    for (const value of column) out.number(value);
  for (const value of columns.nanoseconds) out.number(value);
  let before = 0;
  for (const mtime of columns.mtimes) {
    out.signed(mtime - before);
    before = mtime;
  }
  let expected = BLOCK;
  for (const [at, offset] of columns.offsets.entries()) {
    out.signed(offset - expected);
    expected = nextOffset(offset, columns.sizes[at] ?? 0);
  }
  const content = out.done();
  return Buffer.concat([createHash('sha256').update(content).digest(), content]);
}

/** A table with the digest of its unpacked layer. */
export interface StoredTable {
  readonly table: LayerTable;
  readonly diffId: string;
}

/**
 * Reads a table in steps, so that a large one does not hold up the event loop. Each step yields.
 *
 * @returns undefined if the bytes are damaged, or from another version
 */
export function* decodeTable(stored: Buffer): Generator<void, StoredTable | undefined> {
  const content = stored.subarray(HASH);
  if (!createHash('sha256').update(content).digest().equals(stored.subarray(0, HASH))) return undefined;
  const input = createReader(content);
  if (input.number() !== VERSION) return undefined;
  const { count, unpackedSize, diffId } = JSON.parse(input.bytes(input.number()).toString()) as {
    readonly count: number;
    readonly unpackedSize: number;
    readonly diffId: string;
  };
  const paths = yield* readPaths(input, count);
  const links = yield* readTexts(input, count);
  const rarities = yield* readTexts(input, count);
  const types = new Uint8Array(input.bytes(count));
  const modes = yield* readNumbers(input, new Uint16Array(count));
  const uids = yield* readNumbers(input, new Uint32Array(count));
  const gids = yield* readNumbers(input, new Uint32Array(count));
  const sizes = yield* readNumbers(input, new Float64Array(count));
  const nanoseconds = yield* readNumbers(input, new Uint32Array(count));
  const mtimes = new Float64Array(count);
  const offsets = new Float64Array(count);
  for (let at = 0, before = 0; at < count; at++) {
    before += input.signed();
    mtimes[at] = before;
    if (at % STEP === 0) yield;
  }
  for (let at = 0, expected = BLOCK; at < count; at++) {
    const offset = expected + input.signed();
    offsets[at] = offset;
    expected = nextOffset(offset, sizes[at] ?? 0);
    if (at % STEP === 0) yield;
  }
  const columns: LayerColumns = {
    ...{ paths, links, rarities, types, modes, uids, gids, sizes, mtimes, nanoseconds, offsets },
  };
  return { table: { count, unpackedSize, columns }, diffId };
}

/** Rows that are coded between two yields to the event loop. They take a few milliseconds. */
const STEP = 16_384;

/** Returns the position of the next entry's data if its header has one block. */
function nextOffset(offset: number, size: number): number {
  return offset + Math.ceil(size / BLOCK) * BLOCK + BLOCK;
}

function writePaths(out: Writer, { bytes, ends }: TextColumn): void {
  let [start, previous, previousLength] = [0, 0, 0];
  for (const end of ends) {
    const length = end - start;
    const most = Math.min(length, previousLength);
    let shared = 0;
    while (shared < most && bytes[start + shared] === bytes[previous + shared]) shared += 1;
    out.number(shared);
    out.number(length - shared);
    out.bytes(bytes.subarray(start + shared, end));
    [start, previous, previousLength] = [end, start, length];
  }
}

function* readPaths(input: Reader, count: number): Generator<void, TextColumn> {
  const ends = new Uint32Array(count);
  let bytes = Buffer.allocUnsafe(count * 32 + 64);
  let [start, previous] = [0, 0];
  for (let at = 0; at < count; at++) {
    const shared = input.number();
    const own = input.bytes(input.number());
    const end = start + shared + own.length;
    if (end > bytes.length) bytes = Buffer.concat([bytes.subarray(0, start)], end * 2);
    bytes.copyWithin(start, previous, previous + shared);
    own.copy(bytes, start + shared);
    ends[at] = end;
    [start, previous] = [end, start];
    if (at % STEP === 0) yield;
  }
  return { bytes: Buffer.from(bytes.subarray(0, start)), ends };
}

function writeTexts(out: Writer, { bytes, ends }: TextColumn): void {
  let before = 0;
  for (const end of ends) {
    out.number(end - before);
    before = end;
  }
  out.bytes(bytes);
}

function* readTexts(input: Reader, count: number): Generator<void, TextColumn> {
  const ends = new Uint32Array(count);
  let end = 0;
  for (let at = 0; at < count; at++) {
    end += input.number();
    ends[at] = end;
    if (at % STEP === 0) yield;
  }
  return { bytes: Buffer.from(input.bytes(end)), ends };
}

function* readNumbers<T extends Uint16Array | Uint32Array | Float64Array>(
  input: Reader,
  column: T,
): Generator<void, T> {
  for (let at = 0; at < column.length; at++) {
    column[at] = input.number();
    if (at % STEP === 0) yield;
  }
  return column;
}

interface Writer {
  /** A whole number from 0 to 2^53, in groups of seven bits. */
  number(value: number): void;
  /** A whole number, which is written as the one twice as large, or one less if it is negative. */
  signed(value: number): void;
  bytes(bytes: Uint8Array): void;
  done(): Buffer;
}

function createWriter(): Writer {
  let buffer = Buffer.allocUnsafe(64 * 1024);
  let length = 0;
  const grow = (more: number): void => {
    if (length + more <= buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(buffer.length * 2, length + more));
    buffer.copy(larger, 0, 0, length);
    buffer = larger;
  };
  const number = (value: number): void => {
    grow(8);
    let rest = value;
    while (rest >= 0x80) {
      buffer[length++] = (rest % 0x80) + 0x80;
      rest = Math.floor(rest / 0x80);
    }
    buffer[length++] = rest;
  };
  return {
    number,
    signed: (value) => number(value >= 0 ? value * 2 : -value * 2 - 1),
    bytes(bytes) {
      grow(bytes.length);
      buffer.set(bytes, length);
      length += bytes.length;
    },
    done: () => buffer.subarray(0, length),
  };
}

interface Reader {
  number(): number;
  signed(): number;
  bytes(length: number): Buffer;
}

function createReader(buffer: Buffer): Reader {
  let at = 0;
  const number = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 0x80) {
      const byte = buffer[at++] ?? 0;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  };
  return {
    number,
    signed() {
      const value = number();
      return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    },
    bytes(length) {
      const bytes = buffer.subarray(at, at + length);
      at += length;
      return bytes;
    },
  };
}

import { createHash } from 'node:crypto';
import { createBytes, createColumn, type Numbers, type TextColumn } from './columns.ts';
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
  out.bytes(Uint8Array.from(columns.types));
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
  const modes = yield* readNumbers(count, input.number);
  const uids = yield* readNumbers(count, input.number);
  const gids = yield* readNumbers(count, input.number);
  const sizes = yield* readNumbers(count, input.number);
  const nanoseconds = yield* readNumbers(count, input.number);
  let mtime = 0;
  const mtimes = yield* readNumbers(count, () => (mtime += input.signed()));
  let expected = BLOCK;
  const offsets = yield* readNumbers(count, (at) => {
    const offset = expected + input.signed();
    expected = nextOffset(offset, sizes[at] ?? 0);
    return offset;
  });
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
  const bytes = createBytes(count * 16 + 64);
  let start = 0;
  let previous = 0;
  const ends = yield* readNumbers(count, () => {
    const shared = input.number();
    const own = input.bytes(input.number());
    const memory = bytes.reserve(shared + own.length);
    memory.copyWithin(start, previous, previous + shared);
    own.copy(memory, start + shared);
    bytes.length += shared + own.length;
    [start, previous] = [bytes.length, start];
    return start;
  });
  return { bytes: bytes.done(), ends };
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
  let end = 0;
  const ends = yield* readNumbers(count, () => (end += input.number()));
  return { bytes: copyOf(input.bytes(end)), ends };
}

/** Copies bytes, so that a table does not keep the whole buffer from which it was decoded in memory. */
function copyOf(bytes: Buffer): Buffer {
  const copy = Buffer.from(new ArrayBuffer(bytes.length));
  bytes.copy(copy);
  return copy;
}

function* readNumbers(count: number, next: (at: number) => number): Generator<void, Numbers> {
  const column = createColumn(count);
  for (let at = 0; at < count; at++) {
    column.push(next(at));
    if (at % STEP === 0) yield;
  }
  return column.done();
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
  const output = createBytes(64 * 1024);
  const number = (value: number): void => {
    const memory = output.reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      memory[output.length++] = (rest % 0x80) + 0x80;
      rest = Math.floor(rest / 0x80);
    }
    memory[output.length++] = rest;
  };
  return {
    number,
    signed: (value) => number(value >= 0 ? value * 2 : -value * 2 - 1),
    bytes(bytes) {
      output.reserve(bytes.length).set(bytes, output.length);
      output.length += bytes.length;
    },
    done: output.done.bind(output),
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

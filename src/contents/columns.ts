/** Typed arrays and texts that grow while they are written. */

import { Buffer } from 'node:buffer';

/** Numbers in the smallest type that holds all of them. */
export type Numbers =
  | Uint8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>;

/** Collects numbers that are not negative. */
export interface NumberColumn {
  push(value: number): void;
  /** Returns the numbers. Do not use the column afterwards. */
  done(): Numbers;
}

interface NumberType {
  /** Bytes of a number. */
  readonly size: number;
  /** The largest number. */
  readonly most: number;
  readonly view: (memory: ArrayBuffer) => Numbers;
}

const FLOAT: NumberType = {
  ...{ size: 8, most: Number.POSITIVE_INFINITY },
  view: (memory) => new Float64Array(memory),
};
const NUMBER_TYPES: readonly NumberType[] = [
  { size: 1, most: 0xff, view: (memory) => new Uint8Array(memory) },
  { size: 2, most: 0xffff, view: (memory) => new Uint16Array(memory) },
  { size: 4, most: 0xffff_ffff, view: (memory) => new Uint32Array(memory) },
  FLOAT,
];
/** The initial capacity of a column, in numbers. */
const FIRST = 1024;

/** @param expected the final count of numbers, if known, so that the column never moves */
export function createColumn(expected = FIRST): NumberColumn {
  let type = typeFor(0);
  let values = type.view(new ArrayBuffer(expected));
  let length = 0;
  // `transfer` frees the old memory at once. The garbage collector would free it much later.
  const resize = (count: number): void => {
    values = type.view(values.buffer.transfer(count * type.size));
  };
  const widen = (value: number): void => {
    const before = values;
    type = typeFor(value);
    values = type.view(new ArrayBuffer(before.length * type.size));
    values.set(before);
    before.buffer.transfer(0);
  };
  return {
    push(value) {
      if (value > type.most) widen(value);
      if (length === values.length) resize(Math.max(length * 2, FIRST));
      values[length++] = value;
    },
    done() {
      resize(length);
      return values;
    },
  };
}

function typeFor(value: number): NumberType {
  return NUMBER_TYPES.find(({ most }) => value <= most) ?? FLOAT;
}

/** Texts of bytes as Latin-1, one after the other in one array. */
export interface TextColumn {
  readonly bytes: Buffer;
  /** The end of each text. */
  readonly ends: Numbers;
}

/** Collects texts. */
export function createTextColumn(): { push(text: string): void; readonly size: number; done(): TextColumn } {
  const bytes = createBytes();
  const ends = createColumn();
  return {
    push(text) {
      bytes.reserve(text.length).write(text, bytes.length, 'latin1');
      bytes.length += text.length;
      ends.push(bytes.length);
    },
    get size() {
      return bytes.length;
    },
    done: () => ({ bytes: bytes.done(), ends: ends.done() }),
  };
}

/** Bytes that grow at their end. */
export interface Bytes {
  length: number;
  /** Returns the whole buffer, with space for more bytes after the length. The buffer is valid until the next call. */
  reserve(more: number): Buffer;
  /** Returns the bytes. Do not use the object afterwards. */
  done(): Buffer;
}

/** @param expected the approximate number of bytes, if known */
export function createBytes(expected = 16 * 1024): Bytes {
  let memory = Buffer.from(new ArrayBuffer(expected));
  return {
    length: 0,
    reserve(more) {
      const wanted = this.length + more;
      if (wanted > memory.length)
        memory = Buffer.from(memory.buffer.transfer(Math.max(memory.length * 2, wanted)));
      return memory;
    },
    done() {
      return Buffer.from(memory.buffer.transfer(this.length));
    },
  };
}

/** Reads a text of a column. */
export function textOf({ bytes, ends }: TextColumn, at: number): string {
  const start = at === 0 ? 0 : (ends[at - 1] ?? 0);
  const end = ends[at] ?? start;
  // Most texts of a column are empty, and reading one would cost as much as a name.
  return start === end ? '' : bytes.toString('latin1', start, end);
}

export function sumOf(numbers: Numbers): number {
  let sum = 0;
  for (const number of numbers) sum += number;
  return sum;
}

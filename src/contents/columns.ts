/** Typed arrays and texts that grow while they are written. */

/** A column of numbers. */
export interface NumberColumn {
  push(value: number): void;
}

type Numbers = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float64Array;

/** Collects numbers in a typed array. */
export function createColumn<T extends Numbers>(create: (length: number) => T): NumberColumn & { done(): T } {
  let values = create(1024);
  let length = 0;
  return {
    push(value) {
      if (length === values.length) {
        const larger = create(length * 2);
        larger.set(values);
        values = larger;
      }
      values[length++] = value;
    },
    done: () => values.slice(0, length) as T,
  };
}

/** Texts of bytes as Latin-1, one after the other in one array. */
export interface TextColumn {
  readonly bytes: Buffer;
  /** The end of each text. */
  readonly ends: Uint32Array;
}

/** Collects texts. */
export function createTextColumn(): { push(text: string): void; readonly size: number; done(): TextColumn } {
  let bytes = Buffer.allocUnsafe(16 * 1024);
  let size = 0;
  const ends = createColumn((length) => new Uint32Array(length));
  return {
    push(text) {
      if (size + text.length > bytes.length) {
        const larger = Buffer.allocUnsafe(Math.max(bytes.length * 2, size + text.length));
        bytes.copy(larger, 0, 0, size);
        bytes = larger;
      }
      size += bytes.write(text, size, 'latin1');
      ends.push(size);
    },
    get size() {
      return size;
    },
    done: () => ({ bytes: Buffer.from(bytes.subarray(0, size)), ends: ends.done() }),
  };
}

/** Reads a text of a column. */
export function textOf({ bytes, ends }: TextColumn, at: number): string {
  const start = at === 0 ? 0 : (ends[at - 1] ?? 0);
  const end = ends[at] ?? start;
  // Most texts of a column are empty, and reading one would cost as much as a name.
  return start === end ? '' : bytes.toString('latin1', start, end);
}

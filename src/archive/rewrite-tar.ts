import { tarHeader, tarPadding } from './tar.ts';

/** Bytes; what is larger than this is nothing that somebody would want to rewrite. */
const LARGEST = 4 * 1024 * 1024;
const BLOCK = 512;
/** Links, devices, folders and pipes: no content follows them, whatever size their header states. */
const HEADER_ONLY = new Set(['1', '2', '3', '4', '5', '6']);

/** New content for a file of the archive; undefined leaves it as it is. */
export type Rewrite = (name: string, content: Buffer) => Uint8Array | undefined;

/**
 * Passes a tar archive on, whatever made it, with other content in some of its small files.
 *
 * @param names of the files that `rewrite` is asked about
 * @see https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html (ustar and pax Interchange Format)
 */
export async function* rewriteTar(
  chunks: AsyncIterable<Buffer>,
  names: ReadonlySet<string>,
  rewrite: Rewrite,
): AsyncGenerator<Uint8Array, void> {
  const input = createReader(chunks);
  /** Of a pax header, which says the size of the file after it where that does not fit into its own. */
  let stated: number | undefined;
  for (;;) {
    const header = await input.take(BLOCK);
    const entry = header.length === BLOCK ? readHeader(header) : undefined;
    // The end, or nothing that we know how to go through.
    if (entry === undefined) {
      yield header;
      yield* input.pass(Number.POSITIVE_INFINITY);
      return;
    }
    const size = HEADER_ONLY.has(entry.type) ? 0 : (stated ?? entry.size);
    const padded = size + tarPadding(size).length;
    const isNamed = entry.type === '0' && stated === undefined && names.has(entry.name);
    if (entry.type === 'x' && size <= LARGEST) {
      const record = await input.take(padded);
      stated = sizeIn(record.subarray(0, size));
      yield header;
      yield record;
      continue;
    }
    stated = undefined;
    if (!isNamed || size > LARGEST) {
      yield header;
      yield* input.pass(padded);
      continue;
    }
    const content = await input.take(padded);
    const other = content.length === padded ? rewrite(entry.name, content.subarray(0, size)) : undefined;
    if (other === undefined) yield* [header, content];
    else yield* [tarHeader(entry.name, other.length), other, tarPadding(other.length)];
  }
}

interface Reader {
  /** So many bytes, or what is left. */
  take(length: number): Promise<Buffer>;
  /** So many bytes, or what is left, as they come. */
  pass(length: number): AsyncGenerator<Buffer, void>;
}

function createReader(chunks: AsyncIterable<Buffer>): Reader {
  const source = chunks[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  const more = async (): Promise<boolean> => {
    const { done, value } = await source.next();
    if (done === true) return false;
    rest = rest.length === 0 ? value : Buffer.concat([rest, value]);
    return true;
  };
  const cut = (length: number): Buffer => {
    const head = rest.subarray(0, length);
    rest = rest.subarray(head.length);
    return head;
  };
  return {
    async take(length) {
      while (rest.length < length && (await more()));
      return cut(length);
    },
    async *pass(length) {
      for (let left = length; left > 0; ) {
        if (rest.length === 0 && !(await more())) return;
        const head = cut(left);
        left -= head.length;
        yield head;
      }
    },
  };
}

function readHeader(header: Buffer): { name: string; size: number; type: string } | undefined {
  if (header.every((byte) => byte === 0)) return undefined;
  const size = readSize(header.subarray(124, 136));
  if (size === undefined || !Number.isSafeInteger(size)) return undefined;
  const name = header.toString('latin1', 0, 100).replace(/\0.*$/s, '').replace(/^\.\//, '');
  const hasPrefix = header[345] !== 0;
  const type = String.fromCharCode(header[156] || 0x30);
  return { name: hasPrefix ? '' : name, size, type };
}

/** Octal, or the base-256 form that GNU tar introduced. */
function readSize(field: Buffer): number | undefined {
  if (((field[0] ?? 0) & 0x80) !== 0) return Number(field.readBigUInt64BE(4));
  const [digits] = /^ *[0-7]+/.exec(field.toString('latin1')) ?? [];
  return digits === undefined ? undefined : Number.parseInt(digits, 8);
}

function sizeIn(record: Buffer): number | undefined {
  const [, size] = /(?:^|\n)\d+ size=(\d+)\n/.exec(record.toString('latin1')) ?? [];
  return size === undefined ? undefined : Number(size);
}

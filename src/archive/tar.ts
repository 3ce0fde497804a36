/**
 * The part of the tar format that an archive of blobs needs. Its ustar headers depend only on the type, the name, and
 * the size of an entry.
 *
 * @see https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html (ustar and pax Interchange Format)
 * @see https://www.gnu.org/software/tar/manual/html_node/Standard.html
 */

const BLOCK = 512;
const NAME_MAX = 100;
const OCTAL_SIZE_MAX = 0o77777777777;
/** Types of entries (a file, a folder, a pax header) and their permissions. */
const MODES = { '0': '0000644\0', '5': '0000755\0', x: '0000644\0' } as const;

const encoder = new TextEncoder();

/** The two zero blocks that end an archive. */
export const TAR_END: Uint8Array = new Uint8Array(2 * BLOCK);

/** The header, a multiple of 512 bytes, of a regular file of `size` bytes: mode 0644, owner 0, time 0. */
export function tarHeader(name: string, size: number): Uint8Array {
  return header(name, size, '0');
}

/** The header, a multiple of 512 bytes, of a folder: mode 0755, owner 0, time 0. The name ends with a slash. */
export function tarFolder(name: string): Uint8Array {
  return header(name, 0, '5');
}

/** The zeros between the end of a file of `size` bytes and the next block: 0 to 511 bytes. */
export function tarPadding(size: number): Uint8Array {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
}

/** Joins byte arrays. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

function header(name: string, size: number, type: keyof typeof MODES): Uint8Array {
  const plain = name.replace(/[^\x20-\x7e]/g, '_');
  if (plain === name && name.length <= NAME_MAX) return ustarHeader(name, size, type);
  // A pax header states a path that the name field cannot hold: that of a sha512 blob, or one with other letters.
  const record = paxRecord('path', name);
  const extension = ustarHeader(`pax/${plain.slice(-64)}`, record.length, 'x');
  return concat([
    extension,
    record,
    tarPadding(record.length),
    ustarHeader(plain.slice(-NAME_MAX), size, type),
  ]);
}

/** A header of each type without name, size and checksum. Copying it is faster than building each header. */
const BLANK: Readonly<Record<keyof typeof MODES, Uint8Array>> = {
  '0': blankHeader('0'),
  '5': blankHeader('5'),
  x: blankHeader('x'),
};

function ustarHeader(name: string, size: number, type: keyof typeof MODES): Uint8Array {
  const block = BLANK[type].slice();
  encoder.encodeInto(name, block.subarray(0, NAME_MAX));
  writeSize(block.subarray(124, 136), size);
  let checksum = 0;
  for (const byte of block) checksum += byte;
  encoder.encodeInto(`${checksum.toString(8).padStart(6, '0')}\0 `, block.subarray(148));
  return block;
}

function blankHeader(type: keyof typeof MODES): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const write = (text: string, at: number): void => block.set(encoder.encode(text), at);
  write(MODES[type], 100);
  write('0000000\0', 108);
  write('0000000\0', 116);
  write('00000000000\0', 136);
  write('        ', 148);
  write(type, 156);
  write('ustar\x0000', 257);
  return block;
}

/** Octal up to 8 GiB; above, the base-256 form that GNU tar introduced and every reader in use knows. */
function writeSize(field: Uint8Array, size: number): void {
  if (size <= OCTAL_SIZE_MAX) {
    encoder.encodeInto(`${size.toString(8).padStart(11, '0')}\0`, field);
    return;
  }
  field[0] = 0x80;
  new DataView(field.buffer, field.byteOffset).setBigUint64(4, BigInt(size));
}

/** A pax record counts itself: `LENGTH path=NAME\n`. */
function paxRecord(key: string, value: string): Uint8Array {
  const body = encoder.encode(` ${key}=${value}\n`);
  let length = body.length + 1;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return concat([encoder.encode(`${length}`), body]);
}

/**
 * The DER structures that fixed-form certificates and signing requests need.
 *
 * @see https://www.itu.int/rec/T-REC-X.690
 */

/** Encodes one element: its tag, the length of its content in bytes, and the content. */
export function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content]);
  if (length < 0x100) return Buffer.concat([Buffer.of(tag, 0x81, length), content]);
  return Buffer.concat([Buffer.of(tag, 0x82, length >> 8, length & 0xff), content]);
}

/** Encodes a SEQUENCE of encoded elements. */
export function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

/** Encodes a SET of one element, which needs no order. */
export function set(part: Buffer): Buffer {
  return der(0x31, part);
}

/** Encodes an INTEGER from its big-endian bytes in two's complement. */
export function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes);
}

/** Encodes an OCTET STRING. */
export function octetString(content: Buffer): Buffer {
  return der(0x04, content);
}

/** Encodes a BIT STRING whose last byte has unused bits, from 0 to 7. */
export function bitString(unusedBits: number, bytes: Buffer): Buffer {
  return der(0x03, Buffer.concat([Buffer.of(unusedBits), bytes]));
}

/** Encodes an OBJECT IDENTIFIER from its arcs. @see https://www.itu.int/rec/T-REC-X.690, 8.19 */
export function oid(first: number, second: number, ...rest: number[]): Buffer {
  const base128 = (arc: number): number[] => {
    const digits = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80);
    return digits;
  };
  return der(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

/** Encodes a certificate time, in milliseconds since the epoch; from 2050 on as GeneralizedTime. */
export function time(milliseconds: number): Buffer {
  const digits = new Date(milliseconds).toISOString().replace(/[-:T]|\.\d+/g, '');
  return Number(digits.slice(0, 4)) < 2050
    ? der(0x17, Buffer.from(digits.slice(2)))
    : der(0x18, Buffer.from(digits));
}

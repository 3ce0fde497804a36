/** An element of DER. */
export interface Element {
  readonly tag: number;
  readonly content: Buffer;
  /** The element with its tag and length. */
  readonly whole: Buffer;
}

/** Reads the element at an offset; undefined if the bytes are not a whole element. */
export function elementAt(bytes: Buffer, offset: number): Element | undefined {
  const tag = bytes[offset];
  const first = bytes[offset + 1];
  if (tag === undefined || first === undefined) return undefined;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const start = offset + 2 + lengthBytes;
  if (lengthBytes > 4 || start > bytes.length) return undefined;
  const length = lengthBytes === 0 ? first : bytes.readUIntBE(offset + 2, lengthBytes);
  if (first === 0x80 || start + length > bytes.length) return undefined;
  return {
    tag,
    content: bytes.subarray(start, start + length),
    whole: bytes.subarray(offset, start + length),
  };
}

/** Reads the elements in a constructed element, up to the first that is not whole. */
export function childrenOf({ content }: Element): Element[] {
  const children: Element[] = [];
  for (let offset = 0; offset < content.length; ) {
    const child = elementAt(content, offset);
    if (child === undefined) break;
    children.push(child);
    offset += child.whole.length;
  }
  return children;
}

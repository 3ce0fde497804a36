const LF = 10;
/** Maximum characters of a chunk-size line. */
const LINE_LIMIT = 1024;
const SIZE_LINE = /^[ \t]*([0-9a-f]{1,13})[ \t]*(?:;.*)?\r?\n$/i;

/**
 * Rewrites chunk-size lines that Go's client and curl accept for a strict parser: spaces around a size, empty
 * extensions, and lines with LF alone. Everything after an unreadable line stays unchanged.
 *
 * @returns a function that takes the received bytes of a chunked body and returns the bytes for the parser
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-7.1
 */
export function createChunkMender(): (bytes: Buffer) => Buffer {
  let line = '';
  /** Remaining bytes of the current chunk. */
  let left = 0;
  let isOver = false;

  const endLine = (): string => {
    const text = line;
    line = '';
    // The line break after the data of a chunk.
    if (/^\r?\n$/.test(text)) return '\r\n';
    const size = SIZE_LINE.exec(text)?.[1];
    left = Number.parseInt(size ?? '0', 16);
    isOver = left === 0;
    return size === undefined ? text : `${size}\r\n`;
  };

  return (bytes) => {
    const parts: Buffer[] = [];
    let at = 0;
    while (at < bytes.length && !isOver) {
      if (left > 0) {
        const data = bytes.subarray(at, at + left);
        parts.push(data);
        left -= data.length;
        at += data.length;
        continue;
      }
      const end = bytes.indexOf(LF, at) + 1 || bytes.length;
      line += bytes.toString('latin1', at, end);
      at = end;
      const isWhole = bytes[end - 1] === LF;
      if (!isWhole && line.length < LINE_LIMIT) break;
      if (!isWhole) isOver = true;
      parts.push(Buffer.from(isWhole ? endLine() : line, 'latin1'));
    }
    return Buffer.concat([...parts, bytes.subarray(at)]);
  };
}

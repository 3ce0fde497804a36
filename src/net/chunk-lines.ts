const LF = 10;
/** Characters of a line before a chunk. */
const LINE_LIMIT = 1024;
const SIZE_LINE = /^[ \t]*([0-9a-f]{1,13})[ \t]*(?:;.*)?\r?\n$/i;

/**
 * Writes the lines before chunks anew, so that a strict parser takes what the clients of Go and curl take: space around a
 * size, empty extensions, and lines that end with LF alone. What follows a line that cannot be read stays as it is.
 *
 * @returns takes the bytes of a chunked body as they come, and returns those for the parser
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-7.1
 */
export function createChunkMender(): (bytes: Buffer) => Buffer {
  let line = '';
  /** Bytes of the chunk that are to come. */
  let left = 0;
  let isOver = false;

  const endLine = (): string => {
    const text = line;
    line = '';
    // What ends the data of a chunk.
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

import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { createChunkMender } from './chunk-lines.ts';

/** Maximum bytes of the heads of one response, including interim ones. A longer head stays unchanged. */
export const HEAD_LIMIT = 128 * 1024;

const STATUS_LINE = /^HTTP\/(\d)\.(\d) (\d{3})/;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const CHUNKED = /\r\ntransfer-encoding: chunked\r\n/i;
const HEAD_END = /\r?\n\r?\n/;

/**
 * Rewrites the head of a response so that a strict parser accepts what Go's client and curl accept. These are lines
 * that end with LF, folded lines, spaces around names and values, and invalid header names. They include repeated equal
 * lengths, a length beside chunked encoding, and any minor version. Contradictions stay, so that the parser refuses
 * them.
 *
 * @param head in latin1, without its empty line
 * @returns the head with its empty line and `Connection: close`; empty for an interim response
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-6.3
 */
export function mendHead(head: string): string {
  const [statusLine = '', ...lines] = head.replace(/\r?\n[ \t]+/g, ' ').split(/\r?\n/);
  const [matched = '', major, minor, status = ''] = STATUS_LINE.exec(statusLine) ?? [];
  if (/^1(?!01)\d\d$/.test(status)) return '';
  const version = major === '1' && minor !== '0' ? 'HTTP/1.1' : `HTTP/${major}.${minor}`;
  const mended = [matched === '' ? statusLine : `${version} ${status}${statusLine.slice(matched.length)}`];
  const lengths = new Set<string>();
  let isChunked = false;
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).trim();
    const value = line.slice(colon + 1).trim();
    if (/^content-length$/i.test(name)) {
      for (const length of value.split(',')) if (length.trim() !== '') lengths.add(length.trim());
    } else if (/^transfer-encoding$/i.test(name)) {
      // Obsolete; it means the same as no header.
      if (/^identity$/i.test(value)) continue;
      isChunked = true;
      mended.push(`${name}: ${value}`);
    } else if (colon < 0) mended.push(line);
    else if (TOKEN.test(name) && !/^(?:connection|keep-alive|upgrade)$/i.test(name))
      mended.push(`${name}: ${value}`);
  }
  if (!isChunked) for (const length of lengths) mended.push(`Content-Length: ${length}`);
  return `${mended.join('\r\n')}\r\nConnection: close\r\n\r\n`;
}

/** Repairs the head and the chunk-size lines of the only response on a connection before the parser reads them. */
export function mendAnswer(socket: Socket): void {
  const push = Readable.prototype.push;
  let held = Buffer.alloc(0);
  let mendChunks: ((bytes: Buffer) => Buffer) | undefined;
  let isInHead = true;
  /** Returns the bytes that the parser may read so far. */
  const mended = (chunk: Buffer): Buffer => {
    if (!isInHead) return mendChunks?.(chunk) ?? chunk;
    held = Buffer.concat([held, chunk]);
    for (;;) {
      const end = HEAD_END.exec(held.toString('latin1', 0, HEAD_LIMIT));
      if (end === null && held.length < HEAD_LIMIT) return Buffer.alloc(0);
      isInHead = false;
      if (end === null) return held;
      const head = mendHead(held.toString('latin1', 0, end.index));
      held = held.subarray(end.index + end[0].length);
      isInHead = head === '';
      if (isInHead) continue;
      if (CHUNKED.test(head)) mendChunks = createChunkMender();
      return Buffer.concat([Buffer.from(head, 'latin1'), mendChunks?.(held) ?? held]);
    }
  };
  // Both net and tls pass the bytes that they read to this method of the stream.
  socket.push = function (this: Socket, chunk: Buffer | null, ...rest): boolean {
    if (chunk === null) {
      if (isInHead && held.length > 0) push.call(this, held);
      return push.call(this, null, ...rest);
    }
    const bytes = mended(chunk);
    return bytes.length === 0 || push.call(this, bytes, ...rest);
  };
}

import assert from 'node:assert/strict';
import { type Answer, problemOf, requestHead } from './samples.ts';

/** A request that is hidden where another server may see the body of the first one. */
const HIDDEN = requestHead('GET', '/dl?myimage=hidden');
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
const get = (...headers: string[]): string =>
  ['GET /dl?myimage=front HTTP/1.1', 'host: a', ...headers, '', ''].join('\r\n');

/** https://portswigger.net/web-security/request-smuggling and llhttp's own list of what it is lenient about. */
export const SMUGGLING: Record<string, string> = {
  'a length and chunks': `${get(`content-length: ${HIDDEN.length + 5}`, 'transfer-encoding: chunked')}0\r\n\r\n${HIDDEN}`,
  'chunks and a length': `${get('transfer-encoding: chunked', 'content-length: 4')}5c\r\n${HIDDEN}`,
  'two lengths': `${get('content-length: 0', `content-length: ${HIDDEN.length}`)}${HIDDEN}`,
  'two lengths in one line': `${get(`content-length: 0, ${HIDDEN.length}`)}${HIDDEN}`,
  'one length twice': `${get('content-length: 0', 'content-length: 0')}${HIDDEN}`,
  'a length with a sign': `${get('content-length: +0')}${HIDDEN}`,
  'a negative length': `${get('content-length: -1')}${HIDDEN}`,
  'a hexadecimal length': `${get('content-length: 0x0')}${HIDDEN}`,
  'a length with a space in it': `${get('content-length: 0 0')}${HIDDEN}`,
  'an endless length': `${get(`content-length: ${'9'.repeat(40)}`)}${HIDDEN}`,
  'a length before a space': `${get('content-length : 0')}${HIDDEN}`,
  'an empty length': `${get('content-length: ')}${HIDDEN}`,
  'a body with a length': `${get(`content-length: ${HIDDEN.length}`)}${HIDDEN}`,
  'a body in chunks': `${get('transfer-encoding: chunked')}${chunk(HIDDEN)}0\r\n\r\n`,
  'chunks of another kind': `${get('transfer-encoding: xchunked')}${HIDDEN}`,
  'chunks that are not last': `${get('transfer-encoding: chunked, identity')}0\r\n\r\n${HIDDEN}`,
  'chunks twice': `${get('transfer-encoding: chunked', 'transfer-encoding: chunked')}0\r\n\r\n${HIDDEN}`,
  'chunks before a space': `${get('transfer-encoding : chunked')}0\r\n\r\n${HIDDEN}`,
  'chunks behind a tab': `${get('transfer-encoding:\tchunked')}0\r\n\r\n${HIDDEN}`,
  'chunks behind a vertical tab': `${get('transfer-encoding: \x0bchunked')}0\r\n\r\n${HIDDEN}`,
  'chunks on a folded line': `${get('transfer-encoding:', ' chunked')}0\r\n\r\n${HIDDEN}`,
  'chunks in HTTP/1.0': `${get('transfer-encoding: chunked').replace('1.1', '1.0')}0\r\n\r\n${HIDDEN}`,
  'a chunk of no size': `${get('transfer-encoding: chunked')}x\r\n\r\n${HIDDEN}`,
  'a chunk with an extension': `${get('transfer-encoding: chunked')}0;a=b\n\r\n\r\n${HIDDEN}`,
  'a chunk of endless size': `${get('transfer-encoding: chunked')}${'f'.repeat(20)}\r\n${HIDDEN}`,
  'lines that end in a line feed': get('x: y').replaceAll('\r\n', '\n') + HIDDEN,
  'lines that end in a carriage return': get('x: y').replaceAll('\r\n', '\r') + HIDDEN,
  'a carriage return in a header': `${get(`x: y\r${HIDDEN}`)}`,
  'a zero byte in a header': get('x: \0y') + HIDDEN,
  'a folded line': get('x: y', ' z') + HIDDEN,
  'a header without a name': get(': y') + HIDDEN,
  'a header without a colon': get('content-length') + HIDDEN,
  'a space within a name': get('x y: z') + HIDDEN,
  'two hosts': get('host: b') + HIDDEN,
  'two hosts in one line': get().replace('host: a', 'host: a, b') + HIDDEN,
  'a host behind user information': get().replace('host: a', 'host: a@b') + HIDDEN,
  'an empty host': get().replace('host: a', 'host: ') + HIDDEN,
  'no host': `GET /dl?myimage=front HTTP/1.1\r\n\r\n${HIDDEN}`,
  'another version': get().replace('HTTP/1.1', 'HTTP/1.2') + HIDDEN,
  'the version of HTTP/2': get().replace('HTTP/1.1', 'HTTP/2.0') + HIDDEN,
  'no version': `GET /dl?myimage=front\r\n${HIDDEN}`,
  'HTTP/2': `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${HIDDEN}`,
  'a zero byte in the URL': get().replace('front', 'fr\0nt') + HIDDEN,
  'a space in the URL': get().replace('front', 'fr nt') + HIDDEN,
};

/** One refusal, or none, and the end of the connection. */
export function assertRefusedOnce(answer: Answer): void {
  // Bytes that become invalid in the middle of a request only end the connection.
  if (answer.head === '' && answer.body.length === 0) return;
  assert.ok((answer.status >= 400 && answer.status < 500) || answer.status === 505, answer.head);
  assert.equal(answer.body.toString().includes('HTTP/1.1'), false, 'there is a second answer');
  assert.equal(answer.header('connection'), 'close');
  problemOf(answer);
}

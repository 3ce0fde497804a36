import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import { formatReference } from '../../src/oci/reference.ts';
import { waitFor } from '../support/process.ts';
import {
  problemOf,
  type RunningServer,
  requestHead,
  sampleArchive,
  soon,
  speak,
  startServer,
} from './samples.ts';

const seenBy = ({ requests }: RunningServer): string =>
  requests.flatMap(({ references }) => references.map(formatReference)).join();

/** A request that hides in what another reader may take for the body of the first. */
const HIDDEN = requestHead('GET', '/dl?myimage=hidden');
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
const get = (...headers: string[]): string =>
  ['GET /dl?myimage=front HTTP/1.1', 'host: a', ...headers, '', ''].join('\r\n');

/** https://portswigger.net/web-security/request-smuggling and llhttp's own list of what it is lenient about. */
const SMUGGLING: Record<string, string> = {
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
  'no host': `GET /dl?myimage=front HTTP/1.1\r\n\r\n${HIDDEN}`,
  'another version': get().replace('HTTP/1.1', 'HTTP/1.2') + HIDDEN,
  'no version': `GET /dl?myimage=front\r\n${HIDDEN}`,
  'HTTP/2': `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${HIDDEN}`,
  'a zero byte in the URL': get().replace('front', 'fr\0nt') + HIDDEN,
  'a space in the URL': get().replace('front', 'fr nt') + HIDDEN,
};

suite('requests that two readers could understand in two ways', { timeout: 60_000 }, () => {
  for (const [title, bytes] of Object.entries(SMUGGLING)) {
    test(`${title}: one refusal, and the end of the connection`, async () => {
      await using server = await startServer();
      const answer = await speak(server.port, bytes);
      assert.equal(seenBy(server), '');
      // What turns out to be none in the middle just ends.
      if (answer.head === '' && answer.body.length === 0) return;
      assert.ok(answer.status >= 400 && answer.status < 500, answer.head);
      assert.equal(answer.body.toString().includes('HTTP/1.1'), false, 'there is a second answer');
      assert.equal(answer.header('connection'), 'close');
      problemOf(answer);
    });
  }

  test('many requests before the first answer are not all worked on', async () => {
    const never = new Promise<never>(() => {});
    await using server = await startServer({ open: () => never });
    const socket = connect(server.port, '127.0.0.1');
    const one = requestHead('GET', '/dl?myimage=busybox', { connection: 'keep-alive' });
    socket.on('error', () => {}).write(one.repeat(200));
    await waitFor(() => server.requests.length >= 8);
    // The next one on the same connection would have come before an answer on another one.
    assert.equal((await server.get('/healthz')).status, 200);
    assert.equal(server.requests.length, 8);
    socket.destroy();
  });

  test('requests one after the other may be as many as they like', async () => {
    await using server = await startServer();
    const socket = connect(server.port, '127.0.0.1');
    let text = '';
    socket
      .on('error', () => {})
      .on('data', (bytes: Buffer) => {
        text += bytes;
      });
    for (let answered = 1; answered <= 30; answered++) {
      socket.write(requestHead('HEAD', '/healthz', { connection: 'keep-alive' }));
      await waitFor(() => text.split('HTTP/1.1 200').length === answered + 1);
    }
    assert.doesNotMatch(text, /HTTP\/1\.1 [^2]/);
    socket.destroy();
  });

  test('a body that waits for leave is refused without it', async () => {
    await using server = await startServer();
    const headers = { expect: '100-continue', 'content-length': '10' };
    for (const [method, status] of [
      ['POST', 405],
      ['GET', 400],
    ] as const) {
      const answer = await server.send(method, '/dl?myimage=busybox', headers);
      assert.equal(answer.status, status, answer.head);
      problemOf(answer);
    }
  });

  test('an expectation that nobody knows is ignored', async () => {
    await using server = await startServer();
    assert.equal((await server.get('/healthz', { expect: 'the-spanish-inquisition' })).status, 200);
  });

  test('a request for a proxy, with the whole URL, is answered by its path', async () => {
    await using server = await startServer();
    const { status } = await server.get('http://elsewhere.example/dl?myimage=busybox');
    assert.ok(status === 200 || status === 404, `${status}`);
  });

  test('an upgrade is not taken', async () => {
    await using server = await startServer();
    const headers = { connection: 'upgrade, close', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAAQAAP__' };
    const answer = await server.send('GET', '/healthz', headers);
    assert.equal(answer.status, 200);
  });
});

suite('bytes that are no request', { timeout: 30_000 }, () => {
  const cases: [string, string, number, string][] = [
    ['noise', 'NONSENSE\r\n\r\n', 400, 'request-malformed'],
    ['TLS, where HTTP is spoken', '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03', 400, 'request-malformed'],
    ['a method that nobody knows', requestHead('BREW', '/'), 400, 'request-malformed'],
    ['a method in lowercase', requestHead('get', '/'), 400, 'request-malformed'],
    [
      'a head that is too large',
      requestHead('GET', '/', { x: 'y'.repeat(17_000) }),
      431,
      'headers-too-large',
    ],
    [
      'a head of too many headers',
      requestHead('GET', '/', Object.fromEntries(Array.from({ length: 2000 }, (_, at) => [`x${at}`, 'y']))),
      431,
      'headers-too-large',
    ],
    ['a URL that is too long', requestHead('GET', `/dl?myimage=${'a'.repeat(9000)}`), 414, 'url-too-long'],
  ];
  for (const [title, bytes, status, code] of cases) {
    test(`${title}: ${status}, as a problem`, async () => {
      await using server = await startServer();
      const answer = await speak(server.port, bytes);
      assert.equal(answer.status, status);
      assert.equal(problemOf(answer).code, code);
      assert.equal(seenBy(server), '');
    });
  }

  for (const method of ['TRACE', 'PROPFIND', 'MKCOL', 'LOCK', 'PURGE', 'QUERY']) {
    test(`${method} is not allowed`, async () => {
      await using server = await startServer();
      const answer = await server.send(method, '/dl?myimage=busybox');
      assert.equal(answer.status, 405);
      assert.equal(answer.header('allow'), 'GET, HEAD');
    });
  }

  test('CONNECT gets no tunnel', async () => {
    await using server = await startServer();
    const answer = await server.send('CONNECT', '127.0.0.1:22');
    assert.ok(Number.isNaN(answer.status) || answer.status >= 400, answer.head);
  });

  test('behind a request whose answer is under way end that answer: nothing is written into it', async () => {
    const half = sampleArchive({
      size: 1000,
      read: () => {
        const stream = new Readable({ read() {} });
        stream.push(Buffer.alloc(500, 'x'));
        return stream;
      },
    });
    await using server = await startServer({ open: () => half });
    const socket = connect(server.port, '127.0.0.1');
    const chunks: Buffer[] = [];
    socket
      .on('error', () => {})
      .on('data', (bytes: Buffer) => {
        chunks.push(bytes);
        if (Buffer.concat(chunks).toString().endsWith('x'.repeat(500))) socket.write('NONSENSE\r\n\r\n');
      });
    socket.write(requestHead('GET', '/dl?myimage=busybox', { connection: 'keep-alive' }));
    await once(socket, 'close', soon());
    assert.match(Buffer.concat(chunks).toString(), /\r\n\r\nx{500}$/);
  });

  test('are told to the log for whoever looks closely', async () => {
    await using server = await startServer({ logLevel: 'debug' });
    await speak(server.port, 'NONSENSE\r\n\r\n');
    const line = await server.logged(/cannot be read/);
    assert.equal(line.client, '127.0.0.1');
    assert.match(String(line.cause), /^HPE_/);
  });
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import { formatReference } from '../../../src/oci/reference.ts';
import { waitFor } from '../../support/wait-for.ts';
import {
  problemOf,
  type RunningServer,
  requestHead,
  sampleArchive,
  sharedServer,
  soon,
  speak,
  startServer,
} from '../samples.ts';
import { assertRefusedOnce, SMUGGLING } from '../smuggling.ts';

const seenBy = ({ requests }: RunningServer): string =>
  requests.flatMap(({ references }) => references.map(formatReference)).join();

suite('requests that two readers could understand in two ways', { timeout: 600_000 }, () => {
  for (const [title, bytes] of Object.entries(SMUGGLING)) {
    test(`${title}: one refusal, and the end of the connection`, async () => {
      await using server = await sharedServer();
      assertRefusedOnce(await speak(server.port, bytes));
      assert.equal(seenBy(server), '');
    });
  }

  test('many requests before the first answer are not all worked on', async () => {
    const never = new Promise<never>(() => {});
    await using server = await startServer({ open: () => never });
    const socket = connect(server.port, '127.0.0.1');
    const one = requestHead('GET', '/dl?myimage=busybox', { connection: 'keep-alive' });
    socket.on('error', () => {}).write(one.repeat(200));
    await waitFor(() => server.requests.length >= 8);
    // A further response on the same connection would arrive before a response on another one.
    assert.equal((await server.get('/healthz')).status, 200);
    assert.equal(server.requests.length, 8);
    socket.destroy();
  });

  test('requests one after the other may be as many as they like', async () => {
    await using server = await sharedServer();
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
    await using server = await sharedServer();
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

  test('unknown expectations are ignored', async () => {
    await using server = await sharedServer();
    assert.equal((await server.get('/healthz', { expect: 'the-spanish-inquisition' })).status, 200);
  });

  const targets: [target: string, host: string, status: number][] = [
    ['http://dl.example/dl?myimage=busybox', 'dl.example', 200],
    ['http://DL.example:80/dl?myimage=busybox', 'dl.example', 200],
    ['https://dl.example/dl?myimage=busybox', 'dl.example:443', 200],
    ['http://dl.example:8080/dl?myimage=busybox', 'dl.example:8080', 200],
    ['http://evil.example/dl?myimage=busybox', 'dl.example', 400],
    ['http://dl.example:8080/dl?myimage=busybox', 'dl.example', 400],
    ['http://dl.example@evil.example/dl?myimage=busybox', 'dl.example', 400],
    ['http:///dl?myimage=busybox', 'dl.example', 400],
    ['ftp://dl.example/dl?myimage=busybox', 'dl.example', 400],
    ['*', 'dl.example', 400],
    ['//evil.example/dl', 'dl.example', 404],
  ];
  for (const [target, host, status] of targets) {
    test(`the target ${target} at ${host} gets ${status}`, async () => {
      await using server = await sharedServer();
      for (const method of ['GET', 'HEAD'])
        assert.equal((await server.send(method, target, { host })).status, status, method);
    });
  }

  test('a URL as the target replaces a missing Host header in HTTP/1.0', async () => {
    await using server = await sharedServer();
    assert.equal((await speak(server.port, 'GET http://dl.example/healthz HTTP/1.0\r\n\r\n')).status, 200);
  });

  test('an upgrade is not taken', async () => {
    await using server = await sharedServer();
    const headers = { connection: 'upgrade, close', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAAQAAP__' };
    const answer = await server.send('GET', '/healthz', headers);
    assert.equal(answer.status, 200);
  });
});

suite('the Host header', { timeout: 600_000 }, () => {
  const refused = [
    '',
    ' ',
    'a, b',
    'a b',
    'x'.repeat(254),
    ...(
      'a@b user:pass@b a,b a/b a?b a#b http://a a:b a:70000 a:80:80 :80 [::1 [:1] ::1 [::1]x 1.2.3.400 ' +
      '* "a" a;b \\a a%2fb - . a..b 1.2.3 0x7f.1 a% [fe80::1%eth0] [v1.a] a:-1 a:+80 b\u00fccher.example'
    ).split(' '),
  ];
  for (const host of refused) {
    test(`${JSON.stringify(host)} is refused`, async () => {
      await using server = await sharedServer();
      for (const path of ['/', '/dl?myimage=busybox', '/healthz', '/nothing']) {
        const answer = await server.get(path, { host });
        assert.equal(answer.status, 400, path);
        assert.equal(answer.header('connection'), 'close');
        assert.equal(problemOf(answer).code, 'request-malformed');
      }
      const old = await speak(server.port, `GET /dl?myimage=busybox HTTP/1.0\r\nhost: ${host}\r\n\r\n`);
      assert.equal(old.status, 400);
      assert.equal(seenBy(server), '');
    });
  }

  const taken = (
    'a A.Example dl.example. dl.example:8080 a_container:8080 192.0.2.1:80 [::1] [2001:db8::1]:8443 ' +
    'xn--bcher-kva.example 1password a: a:0 [::ffff:192.0.2.1]:80'
  ).split(' ');
  for (const host of taken) {
    test(`${JSON.stringify(host)} is accepted`, async () => {
      await using server = await sharedServer();
      assert.equal((await server.get('/dl?myimage=busybox', { host })).status, 200);
    });
  }

  test('may be absent from HTTP/1.0 alone', async () => {
    await using server = await sharedServer();
    assert.equal((await speak(server.port, 'GET /healthz HTTP/1.0\r\n\r\n')).status, 200);
    assert.equal((await speak(server.port, 'GET /healthz HTTP/1.1\r\n\r\n')).status, 400);
  });
});

suite('bytes other than a request', { timeout: 600_000 }, () => {
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
    ...['0.9', '1.2', '2', '2.0', '2.1', '3.0', '10.1'].map((version): [string, string, number, string] => [
      `HTTP/${version} in the request line`,
      requestHead('GET', '/dl?myimage=busybox').replace('HTTP/1.1', `HTTP/${version}`),
      505,
      'http-version-unsupported',
    ]),
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505, 'http-version-unsupported'],
    ['a URL that is too long', requestHead('GET', `/dl?myimage=${'a'.repeat(9000)}`), 414, 'url-too-long'],
  ];
  for (const [title, bytes, status, code] of cases) {
    test(`${title}: ${status}, as a problem`, async () => {
      await using server = await sharedServer();
      const answer = await speak(server.port, bytes);
      assert.equal(answer.status, status);
      assert.equal(problemOf(answer).code, code);
      assert.equal(seenBy(server), '');
    });
  }

  for (const method of ['TRACE', 'PROPFIND', 'MKCOL', 'LOCK', 'PURGE', 'QUERY']) {
    test(`${method} is not allowed`, async () => {
      await using server = await sharedServer();
      const answer = await server.send(method, '/dl?myimage=busybox');
      assert.equal(answer.status, 405);
      assert.equal(answer.header('allow'), 'GET, HEAD');
    });
  }

  test('CONNECT gets no tunnel', async () => {
    await using server = await sharedServer();
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

  test('are logged at the debug level', async () => {
    await using server = await startServer({ logLevel: 'debug' });
    await speak(server.port, 'NONSENSE\r\n\r\n');
    const line = await server.logged(/cannot be read/);
    assert.equal(line.client, '127.0.0.1');
    assert.match(String(line.cause), /^HPE_/);
  });
});

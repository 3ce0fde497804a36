import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { readBody } from '../../src/net/body.ts';
import { createGuard } from '../../src/net/guard.ts';
import { createHttpClient } from '../../src/net/http-client.ts';
import { temporaryCertificate } from '../../src/tls/self-signed-provider.ts';
import { startForwardProxy } from '../support/forward-proxy.ts';
import { type RawAnswer, type RawServer, startRawServer } from '../support/raw-server.ts';

const never = new AbortController().signal;
const pair = temporaryCertificate(['127.0.0.1'], Date.now());
const BODY = '{"a":1}';
const LENGTH = `Content-Length: ${BODY.length}\r\n`;
const CHUNKED = 'Transfer-Encoding: chunked\r\n';

interface Bed extends AsyncDisposable {
  server: RawServer;
  /** Returns the status and body of a response, or the code of the error. */
  get(path?: string, method?: 'GET' | 'HEAD' | 'POST'): Promise<string>;
  header(name: string): string | undefined;
}

/** The routes to a server. The server is its own proxy, because plain HTTP needs no tunnel. */
const WAYS = ['directly', 'over TLS', 'through a proxy', 'through a tunnel'] as const;
type Way = (typeof WAYS)[number];

async function startBed(
  answer: (...which: [number, number, string]) => RawAnswer,
  way: Way = 'directly',
): Promise<Bed> {
  const stack = new AsyncDisposableStack();
  const isSecure = way === 'over TLS' || way === 'through a tunnel';
  const server = stack.use(await startRawServer(answer, isSecure ? pair : undefined));
  const forward = stack.use(await startForwardProxy({ names: { '127.0.0.1': '127.0.0.1' } }));
  const proxies = { 'through a proxy': server.origin, 'through a tunnel': forward.url };
  const { [way]: proxy }: Partial<Record<Way, string>> = proxies;
  const tls = { authorities: [], certificate: undefined, key: undefined, skipVerify: true };
  const http = createHttpClient({
    guard: createGuard([server.origin]),
    userAgent: 'test',
    ...(isSecure && { own: { origin: server.origin, headers: {}, tls } }),
    ...(proxy !== undefined && { findProxy: () => new URL(proxy) }),
  });
  stack.defer(() => http.close());
  let header: Bed['header'] = () => undefined;
  return {
    server,
    async get(path = '/', method = 'GET') {
      const request = { method, ...(method === 'POST' && { body: 'x=y' }) };
      try {
        const response = await http.request(new URL(path, server.origin), request, never);
        header = response.header;
        const body = await readBody(response, 1000);
        // The connection is free for the next request a turn of the event loop later.
        await setImmediate();
        return `${response.status} ${body}`;
      } catch (error) {
        return (error as { code: string }).code;
      }
    },
    header: (name) => header(name),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** The head of an answer and its body, with a connection that stays open. */
const ok = (headers = LENGTH, body = BODY): string => `HTTP/1.1 200 OK\r\n${headers}\r\n${body}`;
const chunked = (body: string): string => ok(CHUNKED, body);

/** Responses that Go's client and curl accept. A response without a length ends with its connection. */
const TAKEN: [title: string, bytes: string, ends?: boolean][] = [
  ['a length', ok()],
  ['chunks', chunked(`7\r\n${BODY}\r\n0\r\n\r\n`)],
  ['chunks with extensions', chunked(`7;a=b\r\n${BODY}\r\n0;c\r\n\r\n`)],
  ['chunks with a trailer', chunked(`7\r\n${BODY}\r\n0\r\nx: y\r\n\r\n`)],
  ['chunk sizes with leading zeros', chunked(`0007\r\n${BODY}\r\n000\r\n\r\n`)],
  ['Transfer-Encoding: Chunked', ok('transfer-encoding: Chunked\r\n', `7\r\n${BODY}\r\n0\r\n\r\n`)],
  ['a body that ends with the connection', ok('', BODY), true],
  ['Connection: close without a length', ok('Connection: close\r\n', BODY), true],
  ['HTTP/1.0 with a length', `HTTP/1.0 200 OK\r\n${LENGTH}\r\n${BODY}`, true],
  ['HTTP/1.0 without a length', `HTTP/1.0 200 OK\r\n\r\n${BODY}`, true],
  ['HTTP/1.0 that is kept alive', `HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n${LENGTH}\r\n${BODY}`],
  ['a later minor version', `HTTP/1.2 200 OK\r\n${LENGTH}\r\n${BODY}`],
  ['no reason phrase', `HTTP/1.1 200\r\n${LENGTH}\r\n${BODY}`],
  ['an empty reason phrase', `HTTP/1.1 200 \r\n${LENGTH}\r\n${BODY}`],
  ['a reason phrase in UTF-8', `HTTP/1.1 200 Gr\xc3\xb6\xc3\x9fe\r\n${LENGTH}\r\n${BODY}`],
  ['names of headers in odd case', ok('cOnTeNt-LeNgTh: 7\r\n')],
  ['UTF-8 in a header', ok(`X-A: \xc3\xb6\r\n${LENGTH}`)],
  ['tabs in a header', ok(`X-A:\ta\tb\r\n${LENGTH}`)],
  ['an Upgrade header', ok(`Connection: upgrade\r\nUpgrade: h2,h2c\r\n${LENGTH}`)],
  ['headers of 100 kB', ok(`X-A: ${'a'.repeat(100_000)}\r\n${LENGTH}`)],
  ['100 Continue before it', `HTTP/1.1 100 Continue\r\n\r\n${ok()}`],
  ['102 Processing before it', `HTTP/1.1 102 Processing\r\n\r\n${ok()}`],
  ['103 Early Hints, twice', `${'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(2)}${ok()}`],
  ['equal lengths, twice', ok(LENGTH + LENGTH)],
  ['equal lengths, thrice, in odd case', ok(`${LENGTH}content-length: 7\r\nCONTENT-LENGTH:7\r\n`)],
  ['equal lengths in one line', ok('Content-Length: 7, 7\r\n')],
  ['an empty length beside another', ok(`Content-Length:\r\n${LENGTH}`)],
  ['space behind the length', ok('Content-Length: 7  \r\n')],
  ['a tab behind the length', ok('Content-Length: 7\t\r\n')],
  ['a length beside chunks', ok(LENGTH + CHUNKED, `7\r\n${BODY}\r\n0\r\n\r\n`)],
  ['a wrong length beside chunks', ok(`Content-Length: 3\r\n${CHUNKED}`, `7\r\n${BODY}\r\n0\r\n\r\n`)],
  ['Transfer-Encoding: identity', ok(`Transfer-Encoding: identity\r\n${LENGTH}`)],
  ['lines that end with LF alone', ok().replaceAll('\r\n', '\n')],
  ['space before a colon', ok(`X-A : b\r\nContent-Length : 7\r\n`)],
  ['a name with a space', ok(`X A: b\r\n${LENGTH}`)],
  ['a name that is no token', ok(`X(A): b\r\n${LENGTH}`)],
  ['folded lines', ok(`X-A: b\r\n  c\r\n\td\r\n${LENGTH}`)],
];

/** Responses that break off in the body. The next request succeeds. */
const TAKEN_NEXT: [title: string, bytes: string][] = [
  ['space behind the size of a chunk', chunked(`7  \r\n${BODY}\r\n0 \r\n\r\n`)],
  ['a chunk with an empty extension', chunked(`7;\r\n${BODY}\r\n0;\r\n\r\n`)],
];

const REFUSED: [title: string, bytes: string][] = [
  ['different lengths', ok(`${LENGTH}Content-Length: 8\r\n`)],
  ['different lengths in one line', ok('Content-Length: 7, 8\r\n')],
  ['a length that is no number', ok('Content-Length: seven\r\n')],
  ['a negative length', ok('Content-Length: -7\r\n')],
  ['a line without a colon', ok(`nonsense\r\n${LENGTH}`)],
  ['NUL in a header', ok(`X-A: a\0b\r\n${LENGTH}`)],
  ['a status of four digits', `HTTP/1.1 2000 OK\r\n${LENGTH}\r\n${BODY}`],
  ['another protocol', 'SSH-2.0-OpenSSH\r\n'],
  ['headers without an end', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(200_000)}`],
  ['interim answers alone', 'HTTP/1.1 100 Continue\r\n\r\n'],
  ['a chunk that is cut off', chunked(`7\r\n${BODY.slice(0, 3)}`)],
  ['chunks without their end', chunked(`7\r\n${BODY}\r\n`)],
  ['a body that is shorter than its length', ok('Content-Length: 9\r\n')],
];

for (const way of WAYS) {
  suite(`a response ${way} is accepted with`, { concurrency: true }, () => {
    for (const [title, bytes, ends = false] of TAKEN) {
      test(title, async () => {
        await using bed = await startBed(() => ({ bytes, ends }), way);
        // Request twice, because the second request starts with the dispatcher that worked for the first.
        assert.deepEqual([await bed.get(), await bed.get()], [`200 ${BODY}`, `200 ${BODY}`]);
        assert.ok(bed.server.requests.length <= 3, 'an odd answer costs one request more, once');
      });
    }

    for (const [title, bytes] of TAKEN_NEXT) {
      test(title, async () => {
        await using bed = await startBed(() => ({ bytes }), way);
        const answers = [await bed.get(), await bed.get(), await bed.get()];
        assert.deepEqual(answers, ['registry-failed', `200 ${BODY}`, `200 ${BODY}`]);
      });
    }

    test('a body that HEAD announces but does not send', async () => {
      await using bed = await startBed(() => ({ bytes: ok(LENGTH + LENGTH, '') }), way);
      assert.equal(await bed.get('/', 'HEAD'), '200 ');
    });

    test('a repeated header: the first line, but all lines of a list', async () => {
      const twice = (name: string, ...values: string[]) =>
        values.map((one) => `${name}: ${one}\r\n`).join('');
      const headers = twice('Location', '/a', '/b') + twice('Link', '<a>', '<b>');
      const challenges = twice('WWW-Authenticate', 'Basic', 'Bearer');
      await using bed = await startBed(() => ({ bytes: ok(headers + challenges + LENGTH) }), way);
      await bed.get();
      assert.equal(bed.header('location'), '/a');
      assert.equal(bed.header('link'), '<a>, <b>');
      assert.equal(bed.header('www-authenticate'), 'Basic, Bearer');
    });
  });

  suite(`a response ${way} is refused with`, { concurrency: true }, () => {
    for (const [title, bytes] of REFUSED) {
      test(title, async () => {
        await using bed = await startBed(() => ({ bytes, ends: true }), way);
        assert.equal(await bed.get(), 'registry-failed');
        assert.ok(bed.server.requests.length <= 2, `${bed.server.requests.length} requests`);
      });
    }
  });

  suite(`a kept connection ${way} that closes instead of a response`, { concurrency: true }, () => {
    const ends: [title: string, answer: RawAnswer][] = [
      ['is reset', 'reset'],
      ['is closed', { bytes: '', ends: true }],
    ];
    for (const [title, end] of ends) {
      test(`and ${title} causes a second request, on a new connection`, async () => {
        await using bed = await startBed(
          (_request, onConnection) => (onConnection > 0 ? end : { bytes: ok() }),
          way,
        );
        for (let round = 0; round < 3; round++) assert.equal(await bed.get(), `200 ${BODY}`);
        const { requests } = bed.server;
        assert.equal(requests[1]?.connection, 0, 'the first connection is used again');
        assert.equal(requests[2]?.connection, 1);
      });

      test(`and ${title} repeats HEAD, too, but not POST`, async () => {
        await using bed = await startBed(
          (_request, onConnection) => (onConnection > 0 ? end : { bytes: ok() }),
          way,
        );
        await bed.get();
        assert.equal(await bed.get('/', 'POST'), 'registry-failed');
        assert.equal(bed.server.requests.length, 2);
        await bed.get();
        assert.equal(await bed.get('/', 'HEAD'), '200 ');
      });

      test(`and ${title}, on a new connection, fails after one request`, async () => {
        await using bed = await startBed(() => end, way);
        assert.equal(await bed.get(), 'registry-failed');
        assert.equal(bed.server.requests.length, 1);
      });
    }

    test('and closes in the middle of the body fails', async () => {
      await using bed = await startBed(
        (_request, onConnection) =>
          onConnection > 0 ? { bytes: ok('Content-Length: 9\r\n'), ends: true } : { bytes: ok() },
        way,
      );
      assert.deepEqual([await bed.get(), await bed.get()], [`200 ${BODY}`, 'registry-failed']);
      assert.equal(bed.server.requests.length, 2);
    });
  });
}

suite('a redirect', { concurrency: true }, () => {
  const redirect = (location: string, status = 307): RawAnswer => ({
    bytes: `HTTP/1.1 ${status} Moved\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`,
  });
  const pathOf = (head: string): string => head.split(' ')[1] ?? '';
  const chain = (most: number) =>
    startBed((_request, _own, head) => {
      const step = Number(pathOf(head).slice(1));
      return step < most ? redirect(`/${step + 1}`) : { bytes: ok() };
    });

  for (const most of [1, 8, 10]) {
    test(`with ${most} steps is followed`, async () => {
      await using bed = await chain(most);
      assert.equal(await bed.get('/0'), `200 ${BODY}`);
    });
  }

  test('with 11 steps is given up', async () => {
    await using bed = await chain(11);
    assert.equal(await bed.get('/0'), 'registry-failed');
    assert.equal(bed.server.requests.length, 11);
  });

  for (const status of [301, 302, 303, 307, 308]) {
    test(`with status ${status} keeps the method`, async () => {
      await using bed = await startBed((request) =>
        request === 0 ? redirect('/b', status) : { bytes: ok() },
      );
      await bed.get('/a', 'HEAD');
      assert.match(bed.server.requests[1]?.head ?? '', /^HEAD \/b /);
    });
  }

  const locations: [location: string, path: string][] = [
    ['/b?c=d#e', '/b?c=d'],
    ['b', '/a/b'],
    ['../b', '/b'],
    ['?c=d', '/a/a?c=d'],
    ['/gr\xc3\xb6\xc3\x9fe', '/gr%C3%B6%C3%9Fe'],
    ['/gr\xf6\xdfe', '/gr%F6%DFe'],
    ['/%C3%B6?a=\xe2\x82\xac', '/%C3%B6?a=%E2%82%AC'],
    ['/with space', '/with%20space'],
    ['/"quoted"|bar', '/%22quoted%22|bar'],
    ['/a%2Fb%20c?x=%2B+y', '/a%2Fb%20c?x=%2B+y'],
  ];
  for (const [location, path] of locations) {
    test(`to ${JSON.stringify(location)} asks for ${path}`, async () => {
      await using bed = await startBed((request) => (request === 0 ? redirect(location) : { bytes: ok() }));
      assert.equal(await bed.get('/a/a'), `200 ${BODY}`);
      assert.equal(pathOf(bed.server.requests[1]?.head ?? ''), path);
    });
  }

  test('to another host without a scheme is followed', async () => {
    await using bed = await startBed((request) =>
      request === 0 ? redirect(`//${bed.server.host}/b`) : { bytes: ok() },
    );
    assert.equal(await bed.get('/a'), `200 ${BODY}`);
  });

  test('without a Location is the answer itself', async () => {
    await using bed = await startBed(() => ({ bytes: 'HTTP/1.1 307 Moved\r\nContent-Length: 0\r\n\r\n' }));
    assert.equal(await bed.get(), '307 ');
  });
});

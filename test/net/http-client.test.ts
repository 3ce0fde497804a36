import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import { drain, readBody } from '../../src/net/body.ts';
import { createGuard, type Guard } from '../../src/net/guard.ts';
import { ANYONE, type HttpClient } from '../../src/net/http.ts';
import { createHttpClient, type HttpClientOptions } from '../../src/net/http-client.ts';
import { upstreamError } from '../../src/net/upstream-error.ts';
import { createLargeDocuments, type LargeDocuments } from '../../src/util/large-documents.ts';
import { startDroppingListener } from '../support/dropping-listener.ts';
import { type Listening, listen } from '../support/listen.ts';
import { run } from '../support/process.ts';
import { reservePort } from '../support/reserve-port.ts';
import { waitFor } from '../support/wait-for.ts';

const LOOPBACK: LookupAddress = { address: '127.0.0.1', family: 4 };
const never = new AbortController().signal;

const serve = (listener: RequestListener, ...where: [address?: string, port?: number]): Promise<Listening> =>
  listen(createServer(listener), ...where);

const hello = (text = 'hello'): Promise<Listening> => serve((_request, response) => response.end(text));

function clientFor(
  trusted: string[],
  options: Partial<HttpClientOptions> = {},
): HttpClient & AsyncDisposable {
  const client = createHttpClient({ guard: createGuard(trusted), userAgent: 'test', ...options });
  return { ...client, [Symbol.asyncDispose]: () => client.close() };
}

/** A resolver with a list of answers, which records the requested names. */
function answering(...answers: LookupAddress[][]): {
  asked: string[];
  lookup: (hostname: string) => Promise<LookupAddress[]>;
} {
  const asked: string[] = [];
  return {
    asked,
    lookup: async (hostname) => {
      asked.push(hostname);
      return answers[asked.length - 1] ?? assert.fail(`${hostname} is looked up once too often`);
    },
  };
}

suite('the HTTP client connects where the guard allows', () => {
  test('a name that resolves to loopback is refused, before any connection', async () => {
    await using server = await hello();
    const { lookup, asked } = answering([LOOPBACK]);
    await using http = clientFor([], { lookup });
    await assert.rejects(http.request(new URL(`https://registry.test:${server.port}/`), {}, never), {
      code: 'address-refused',
      message: '"registry.test" is not fetched: its address is not public.',
    });
    assert.deepEqual(asked, ['registry.test']);
    assert.equal(server.connections, 0);
  });

  test('localhost is refused by the system resolver’s own answer', async () => {
    await using server = await hello();
    await using http = clientFor([]);
    await assert.rejects(http.request(new URL(`https://localhost:${server.port}/`), {}, never), {
      code: 'address-refused',
    });
    assert.equal(server.connections, 0);
  });

  test('one loopback address among public ones refuses the name', async () => {
    await using server = await hello();
    const { lookup } = answering([{ address: '192.0.43.8', family: 4 }, LOOPBACK]);
    await using http = clientFor([], { lookup });
    await assert.rejects(http.request(new URL(`https://registry.test:${server.port}/`), {}, never), {
      code: 'address-refused',
    });
    assert.equal(server.connections, 0);
  });

  for (const host of ['127.0.0.1', '2130706433', '[::ffff:127.0.0.1]']) {
    test(`the literal ${host} is refused, for which nothing is looked up`, async () => {
      await using server = await hello();
      const { lookup } = answering();
      await using http = clientFor([], { lookup });
      for (const scheme of ['http', 'https']) {
        await assert.rejects(http.request(new URL(`${scheme}://${host}:${server.port}/`), {}, never), {
          code: 'address-refused',
        });
      }
      assert.equal(server.connections, 0);
    });
  }

  test('a listed origin is reached at any address, with its own name in Host', async () => {
    let host: string | undefined;
    await using server = await serve((request, response) => {
      host = request.headers.host;
      response.end('hello');
    });
    const { lookup, asked } = answering([LOOPBACK]);
    const origin = `http://registry.test:${server.port}`;
    await using http = clientFor([origin], { lookup });
    const response = await http.request(new URL(`${origin}/v2/`), {}, never);
    assert.equal(String(await readBody(response, 100)), 'hello');
    assert.equal(response.status, 200);
    assert.equal(response.url.href, `${origin}/v2/`);
    assert.equal(host, `registry.test:${server.port}`);
    assert.deepEqual(asked, ['registry.test']);
  });

  test('a listed name does not allow another port or scheme', async () => {
    await using server = await hello();
    const { lookup } = answering([LOOPBACK]);
    await using http = clientFor([`http://registry.test:${server.port + 1}`], { lookup });
    await assert.rejects(http.request(new URL(`https://registry.test:${server.port}/`), {}, never), {
      code: 'address-refused',
    });
    assert.equal(server.connections, 0);
  });

  test('a redirect into the inside is refused at its hop: as an address and as a name', async () => {
    await using inside = await hello('secret');
    const targets = [
      `http://127.0.0.1:${inside.port}/`,
      `https://127.0.0.1:${inside.port}/`,
      `https://inside.test:${inside.port}/`,
      `https://user:secret@registry.test:${inside.port}/`,
    ];
    await using server = await serve((request, response) => {
      const location = targets[Number(request.url?.slice(1))] ?? '';
      response.writeHead(302, { location }).end('moved');
    });
    const origin = `http://registry.test:${server.port}`;
    const lookup = async () => [LOOPBACK];
    await using http = clientFor([origin], { lookup });
    for (const at of targets.keys()) {
      await assert.rejects(http.request(new URL(`${origin}/${at}`), {}, never), { code: 'address-refused' });
    }
    assert.equal(inside.connections, 0);
  });

  test('a redirect to what the operator has listed counts for listed registries alone', async () => {
    const hosts: (string | undefined)[] = [];
    await using inside = await serve((request, response) => {
      hosts.push(request.headers.host);
      response.end('inside');
    });
    const target = `http://registry.test:${inside.port}`;
    await using stranger = await serve((_request, response) => {
      response.writeHead(302, { location: `${target}/secret` }).end();
    });
    const origin = `http://stranger.test:${stranger.port}`;
    const listed = createGuard([target]);
    // 127.0.0.1 counts as a public address only for untrusted names.
    const guard: Guard = {
      ...listed,
      checkUrl: (url, chosenBy) => (url.origin === origin ? undefined : listed.checkUrl(url, chosenBy)),
      checkAddresses: (hostname, addresses) =>
        hostname === 'stranger.test' ? undefined : listed.checkAddresses(hostname, addresses),
    };
    const lookup = async () => [LOOPBACK];
    await using http = clientFor([], { guard, lookup });
    await assert.rejects(http.request(new URL(origin), {}, never), { code: 'address-refused' });
    assert.equal(inside.connections, 0);

    await using both = clientFor([target, origin], { lookup });
    assert.equal(String(await readBody(await both.request(new URL(origin), {}, never), 100)), 'inside');
    assert.deepEqual(hosts, [`registry.test:${inside.port}`]);
  });

  test('a connection that is open for one who may is not for one who may not', async () => {
    await using inside = await hello('inside');
    const origin = `http://registry.test:${inside.port}`;
    const listed = createGuard([origin]);
    const guard: Guard = { ...listed, checkUrl: () => {} };
    await using http = clientFor([], { guard, lookup: async () => [LOOPBACK] });
    await readBody(await http.request(new URL(origin), {}, never), 100);
    assert.equal(inside.connections, 1);
    for (const chosenBy of ['https://stranger.test', ANYONE]) {
      await assert.rejects(http.request(new URL(origin), { chosenBy }, never), { code: 'address-refused' });
    }
    assert.equal(inside.connections, 1);
  });

  test('no proxy of the environment comes between by itself', async () => {
    await using server = await hello();
    let used = 0;
    await using proxy = await serve((_request, response) => {
      used += 1;
      response.end('proxied');
    });
    const module = (name: string): string =>
      JSON.stringify(new URL(`../../src/net/${name}.ts`, import.meta.url).href);
    const script = `
        import { createGuard } from ${module('guard')};
        import { readBody } from ${module('body')};
        import { createHttpClient } from ${module('http-client')};
        const origin = 'http://127.0.0.1:${server.port}';
        const http = createHttpClient({ guard: createGuard([origin]), userAgent: 'test' });
        const response = await http.request(new URL(origin), {}, new AbortController().signal);
        process.stdout.write(await readBody(response, 100));
        await http.close();
      `;
    const proxies = ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'ALL_PROXY'];
    const url = `http://127.0.0.1:${proxy.port}`;
    const env = {
      ...process.env,
      ...Object.fromEntries(proxies.map((name) => [name, url])),
      ...{ NODE_USE_ENV_PROXY: '1', NO_PROXY: '', no_proxy: '' },
    };
    const args = ['--input-type=module', '--eval', script];
    const { stdout } = await run(process.execPath, args, { env });
    assert.equal(stdout, 'hello');
    assert.equal(used, 0);
  });

  test('the connection goes to the very address that was checked, and the name is looked up once for it', async () => {
    // 127.0.0.2 plays the public address and 127.0.0.1 the private one, so that no traffic leaves this machine.
    const checked: string[] = [];
    const guard: Guard = {
      checkUrl: () => {},
      checkAddresses: (_hostname, addresses) => {
        checked.push(...addresses.map(({ address }) => address));
        createGuard([]).checkAddresses(
          'rebound.test',
          addresses.map(({ address, family }) => ({
            address: address === '127.0.0.2' ? '8.8.8.8' : address,
            family,
          })),
        );
      },
      trusts: () => false,
    };
    await using outside = await serve(
      (_request, response) => response.writeHead(200, { connection: 'close' }).end('outside'),
      '127.0.0.2',
    );
    await using inside = await serve(
      (_request, response) => response.end('inside'),
      '127.0.0.1',
      outside.port,
    );
    const { lookup, asked } = answering([{ address: '127.0.0.2', family: 4 }], [LOOPBACK]);
    await using http = clientFor([], { guard, lookup });
    const url = new URL(`http://rebound.test:${outside.port}/`);

    const response = await http.request(url, {}, never);
    assert.equal(String(await readBody(response, 100)), 'outside');
    assert.deepEqual(asked, ['rebound.test']);
    assert.deepEqual(checked, ['127.0.0.2']);

    await assert.rejects(http.request(url, {}, never), { code: 'address-refused' });
    assert.deepEqual(checked, ['127.0.0.2', '127.0.0.1']);
    assert.equal(inside.connections, 0);
  });

  test('a name without any address is an upstream failure', async () => {
    const source = (name: string): string =>
      JSON.stringify(new URL(`../../src/net/${name}.ts`, import.meta.url).href);
    const script = `
        import { createGuard } from ${source('guard')};
        import { createHttpClient } from ${source('http-client')};
        const http = createHttpClient({ guard: createGuard([]), userAgent: 'test', lookup: async () => [] });
        await http.request(new URL('https://registry.test/'), {}, new AbortController().signal)
          .catch(({ code }) => process.stdout.write(code));
      `;
    const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script]);
    assert.equal(stdout, 'registry-failed');
  });
});

suite('the HTTP client speaks HTTP', () => {
  test('it follows redirects of GET, without credentials to another origin', async () => {
    const seen: (string | undefined)[] = [];
    await using target = await serve((request, response) => {
      seen.push(request.headers.authorization, request.headers.range, request.headers['user-agent']);
      response.end('blob');
    });
    await using server = await serve((request, response) => {
      seen.push(request.headers.authorization);
      const location = request.url === '/' ? '/again' : `http://127.0.0.1:${target.port}/blob`;
      response.writeHead(307, { location }).end('moved');
    });
    const origins = [server, target].map(({ port }) => `http://127.0.0.1:${port}`);
    await using http = clientFor(origins);
    const headers = { authorization: 'Bearer secret', range: 'bytes=0-3' };
    const response = await http.request(new URL(`${origins[0]}/`), { headers }, never);
    assert.equal(String(await readBody(response, 100)), 'blob');
    assert.equal(response.url.href, `${origins[1]}/blob`);
    assert.deepEqual(seen, ['Bearer secret', 'Bearer secret', undefined, 'bytes=0-3', 'test']);
  });

  test('it gives a circle of redirects up', async () => {
    let requests = 0;
    await using server = await serve((_request, response) => {
      requests += 1;
      response.writeHead(302, { location: '/' }).end();
    });
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    await assert.rejects(http.request(new URL(origin), {}, never), { code: 'registry-failed' });
    assert.equal(requests, 11);
  });

  for (const location of ['/', 'http://[']) {
    test(`it leaves no connection open after it refuses a redirect to ${location}`, async () => {
      await using server = await serve((_request, response) => {
        response.writeHead(302, { location }).end(Buffer.alloc(1_000_000));
      });
      const client = clientFor([`http://${server.host}`]);
      const answer = client.request(new URL(`http://${server.host}/`), {}, never);
      await assert.rejects(answer, { code: 'registry-failed' });
      // Waits until all responses have ended.
      await client.close();
    });
  }

  test('it sends a POST with its body and does not redirect it', async () => {
    const seen: unknown[] = [];
    await using server = await serve((request, response) => {
      request.setEncoding('utf8').once('data', (body) => {
        seen.push(request.method, body);
        response.writeHead(307, { location: '/elsewhere' }).end();
      });
    });
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    const response = await http.request(new URL(origin), { method: 'POST', body: 'a=b' }, never);
    await drain(response);
    assert.equal(response.status, 307);
    assert.deepEqual(seen, ['POST', 'a=b']);
  });

  test('it asks for no content encoding, since a blob’s bytes are what is digested', async () => {
    let encoding: string | undefined;
    await using server = await serve((request, response) => {
      encoding = request.headers['accept-encoding'];
      response.writeHead(200, { 'x-twice': ['one', 'two'] }).end();
    });
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    const response = await http.request(new URL(origin), { method: 'HEAD' }, never);
    await drain(response);
    assert.equal(encoding, 'identity');
    assert.equal(response.header('x-absent'), undefined);
  });

  test('a body up to the limit is read, one beyond it is refused', async () => {
    await using server = await hello('x'.repeat(1000));
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    const get = () => http.request(new URL(origin), {}, never);
    assert.equal((await readBody(await get(), 1000)).length, 1000);
    await assert.rejects(readBody(await get(), 999), {
      code: 'registry-failed',
      message: `127.0.0.1:${server.port} sent more than 999 bytes of metadata.`,
    });
  });

  test('an endless body is given up at the limit, and its connection with it', async () => {
    let closed = false;
    await using server = await serve((_request, response) => {
      const fill = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(16_384)));
      };
      response.on('drain', fill).once('close', () => {
        closed = true;
      });
      fill();
    });
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    const get = () => http.request(new URL(origin), {}, never);
    await assert.rejects(readBody(await get(), 100_000), { code: 'registry-failed' });
    await waitFor(() => closed, { what: 'the end of the connection' });
    closed = false;
    await drain(await get());
    await waitFor(() => closed, { what: 'the end of the drained connection' });
  });
});

suite('the HTTP client does not wait forever', () => {
  test('an answer that does not begin', async () => {
    await using server = await serve(() => {});
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin], { idleTimeout: 50 });
    await assert.rejects(http.request(new URL(origin), {}, never), {
      code: 'registry-timeout',
      message: `127.0.0.1:${server.port} did not respond in time.`,
    });
  });

  test('a body that does not go on', async () => {
    await using server = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('half');
    });
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin], { idleTimeout: 50 });
    const response = await http.request(new URL(origin), {}, never);
    await assert.rejects(readBody(response, 1000), { code: 'registry-timeout' });
  });

  test('the rest of a body that only drips, before the next request', { timeout: 20_000 }, async () => {
    let closed = false;
    await using server = await serve((_request, response) => {
      const drip = setInterval(() => response.write('x'), 50);
      response.once('close', () => {
        closed = true;
        clearInterval(drip);
      });
    });
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    await drain(await http.request(new URL(origin), {}, never), 200);
    await waitFor(() => closed, { what: 'the end of the connection' });
  });

  test('a TLS handshake that is not answered', async () => {
    await using server = await listen(createTcpServer());
    const origin = `https://127.0.0.1:${server.port}`;
    await using http = clientFor([origin], { idleTimeout: 50 });
    await assert.rejects(http.request(new URL(origin), {}, never), { code: 'registry-timeout' });
    assert.equal(server.connections, 1);
  });
});

suite('a deadline holds while the HTTP client connects', () => {
  const nothing = (): Promise<never> => new Promise(() => {});

  test('to a registry that drops SYNs', async () => {
    await using server = await startDroppingListener();
    await using http = clientFor([server.origin], { connectTimeout: 2000 });
    const abort = new AbortController();
    const answer = http.request(new URL(server.origin), {}, abort.signal);
    abort.abort(new DOMException('', 'TimeoutError'));
    // The connect timeout has another cause.
    await assert.rejects(answer, { code: 'registry-timeout', cause: abort.signal.reason });
  });

  test('to a registry that drops SYNs, by the connect timeout alone', async () => {
    await using server = await startDroppingListener();
    await using http = clientFor([server.origin], { idleTimeout: 600_000, connectTimeout: 50 });
    await assert.rejects(http.request(new URL(server.origin), {}, never), { code: 'registry-timeout' });
  });

  test('while the name is looked up', async () => {
    await using http = clientFor([], { lookup: nothing, connectTimeout: 2000 });
    const abort = new AbortController();
    const answer = http.request(new URL('https://registry.test/'), {}, abort.signal);
    abort.abort();
    await assert.rejects(answer, { name: 'AbortError' });
  });

  test('while a name behind a proxy is looked up', async () => {
    const findProxy = (): URL => new URL('http://127.0.0.1:9');
    await using http = clientFor([], { lookup: nothing, findProxy });
    const abort = new AbortController();
    const answer = http.request(new URL('https://registry.test/'), {}, abort.signal);
    abort.abort();
    await assert.rejects(answer, { name: 'AbortError' });
  });
});

suite('the HTTP client keeps its connection after HEAD', () => {
  test('a GET after ten HEAD requests uses the one connection', async () => {
    await using server = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 5 }).end('hello');
    });
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    for (let count = 0; count < 10; count += 1)
      await drain(await http.request(new URL(origin), { method: 'HEAD' }, never));
    const response = await http.request(new URL(origin), {}, never);
    assert.equal(`${await readBody(response, 100)}`, 'hello');
    assert.equal(server.connections, 1);
  });

  test('a body that a server wrongly sends after HEAD does not answer the next request', async () => {
    const head = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n';
    await using server = await listen(
      createTcpServer((socket) =>
        socket.on('data', () => socket.write(`${head}hello`)).on('error', () => {}),
      ),
    );
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    for (let count = 0; count < 3; count += 1) {
      await drain(await http.request(new URL(origin), { method: 'HEAD' }, never));
      const response = await http.request(new URL(origin), {}, never);
      assert.equal(`${await readBody(response, 100)}`, 'hello');
    }
  });
});

suite('the HTTP client names what went wrong', () => {
  test('a refused connection', async () => {
    const port = await reservePort();
    const origin = `http://127.0.0.1:${port}`;
    await using http = clientFor([origin]);
    await assert.rejects(http.request(new URL(origin), {}, never), {
      code: 'registry-failed',
      message: `127.0.0.1:${port} could not be read: it refused the connection.`,
      reason: `127.0.0.1:${port} could not be read: it refused the connection`,
    });
  });

  test('a connection that breaks: before the answer and within the body', async () => {
    await using server = await serve((request, response) => {
      if (request.url === '/body') response.writeHead(200, { 'content-length': 100 }).write('half');
      setImmediate(() => response.destroy());
    });
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    const broken = { code: 'registry-failed', message: /could not be read: it closed the connection/ };
    await assert.rejects(http.request(new URL(origin), {}, never), broken);
    const read = http
      .request(new URL(`${origin}/body`), {}, never)
      .then((response) => readBody(response, 1000));
    await assert.rejects(read, broken);
  });

  test('an unknown name', async () => {
    const unknown = Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' });
    await using http = clientFor([], { lookup: () => Promise.reject(unknown) });
    await assert.rejects(http.request(new URL('https://registry.test/'), {}, never), {
      code: 'registry-failed',
      message: 'registry.test could not be read: the host does not exist.',
      cause: unknown,
    });
  });

  test('HTTPS to a server that speaks plain HTTP', async () => {
    await using server = await hello();
    const origin = `https://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    await assert.rejects(http.request(new URL(origin), {}, never), {
      code: 'registry-failed',
      message: `127.0.0.1:${server.port} could not be read: it does not speak HTTPS.`,
      isFinal: true,
    });
  });

  test('bytes other than HTTP', async () => {
    const tcp = createTcpServer((socket) => {
      socket.once('data', () => socket.end('SSH-2.0-OpenSSH\r\n'));
    });
    await using server = await listen(tcp);
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    await assert.rejects(http.request(new URL(origin), {}, never), { code: 'registry-failed' });
  });

  test('a timeout of the caller’s own signal is a timeout', async () => {
    await using server = await serve(() => {});
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    await assert.rejects(http.request(new URL(origin), {}, AbortSignal.timeout(20)), {
      code: 'registry-timeout',
    });
  });

  test('an error without a code still names the host, and what is not thrown as an error too', () => {
    for (const thrown of [new Error('odd'), 'odd', undefined]) {
      const error = upstreamError(thrown, 'registry.test');
      assert.match(error.message, /^registry\.test /);
      assert.equal(error.cause, thrown);
    }
  });
});

suite('an abort ends the upstream request at once', () => {
  interface Held extends Listening {
    /** Resolves when the client's request has come, and when its connection has ended. */
    came: Promise<unknown>;
    ended: Promise<unknown>;
  }

  async function holding(listener: RequestListener): Promise<Held> {
    const came = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    const server = await serve((request, response) => {
      response.once('close', () => ended.resolve());
      came.resolve();
      listener(request, response);
    });
    return Object.assign(server, { came: came.promise, ended: ended.promise });
  }

  test('while its answer is awaited', async () => {
    await using server = await holding(() => {});
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    const abort = new AbortController();
    const answer = http.request(new URL(origin), {}, abort.signal);
    await server.came;
    abort.abort();
    await assert.rejects(answer, { name: 'AbortError' });
    await server.ended;
  });

  const halfBody: RequestListener = (_request, response) => {
    response.writeHead(200, { 'content-length': 100 }).write('half');
  };

  test('while its body is read', async () => {
    await using server = await holding(halfBody);
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    const abort = new AbortController();
    const response = await http.request(new URL(origin), {}, abort.signal);
    const read = readBody(response, 1000);
    abort.abort();
    await assert.rejects(read, { name: 'AbortError' });
    await server.ended;
  });

  test('and so does destroying its body', async () => {
    await using server = await holding(halfBody);
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    const { body }: { body: Readable } = await http.request(new URL(origin), {}, never);
    body.on('error', () => {}).destroy();
    await server.ended;
  });

  test('before it was sent: it is not', async () => {
    let requests = 0;
    await using server = await serve((_request, response) => {
      requests += 1;
      response.end();
    });
    const origin = `http://127.0.0.1:${server.port}`;
    await using http = clientFor([origin]);
    await assert.rejects(http.request(new URL(origin), {}, AbortSignal.abort()), { name: 'AbortError' });
    assert.equal(requests, 0);
  });
});

suite('large bodies of metadata', () => {
  /** Sends the first bytes of each large body, and the rest once the test ends it. */
  const serveLarge = async (large: Buffer, isLengthStated: boolean) => {
    const waiting: ServerResponse[] = [];
    const server = createServer(({ url }, response) => {
      if (url === '/small') return void response.end(large.subarray(0, 100_000));
      if (isLengthStated) response.setHeader('content-length', large.length);
      response.write(large.subarray(0, 300_000));
      waiting.push(response);
    });
    const listening = await listen(server);
    const origin = `http://${listening.host}`;
    const inner = createLargeDocuments(0);
    const held = { now: 0, most: 0 };
    const documents: LargeDocuments = {
      ...inner,
      read: (work, signal) =>
        inner.read(async () => {
          held.now += 1;
          held.most = Math.max(held.most, held.now);
          return work().finally(() => {
            held.now -= 1;
          });
        }, signal),
    };
    const http = createHttpClient({ guard: createGuard([origin]), userAgent: 'test', large: documents });
    const read = async (path: string): Promise<Buffer> =>
      readBody(await http.request(new URL(path, origin), {}, new AbortController().signal), 2 * large.length);
    const close = async (): Promise<void> => {
      await http.close();
      await listening[Symbol.asyncDispose]();
    };
    return { waiting, held, read, [Symbol.asyncDispose]: close };
  };

  for (const isLengthStated of [false, true]) {
    test(`are read two at a time, beside small ones, ${isLengthStated ? 'with' : 'without'} a length`, async () => {
      const large = Buffer.alloc(1024 * 1024, 'x');
      await using served = await serveLarge(large, isLengthStated);
      const bodies = Array.from({ length: 6 }, (_, at) => served.read(`/large/${at}`));
      await waitFor(() => served.waiting.length === 6 && served.held.now === 2, { what: 'two large bodies' });
      assert.equal((await served.read('/small')).length, 100_000);
      for (const response of served.waiting) response.end(large.subarray(300_000));
      for (const body of await Promise.all(bodies)) assert.ok(body.equals(large));
      assert.equal(served.held.most, 2);
    });
  }

  test('reserve no memory while they wait', async () => {
    const large = Buffer.alloc(32 * 1024 * 1024, 'x');
    await using served = await serveLarge(large, true);
    const before = process.memoryUsage().arrayBuffers;
    const bodies = Array.from({ length: 8 }, (_, at) => served.read(`/large/${at}`));
    await waitFor(() => served.waiting.length === 8 && served.held.now === 2, { what: 'two large bodies' });
    const reserved = process.memoryUsage().arrayBuffers - before;
    assert.ok(reserved < 3 * large.length, `${reserved} bytes`);
    for (const response of served.waiting) response.destroy();
    await Promise.allSettled(bodies);
  });
});

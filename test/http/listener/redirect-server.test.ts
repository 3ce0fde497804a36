import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { pino } from 'pino';
import { createDrain } from '../../../src/http/listener/drain.ts';
import { createRedirectServer } from '../../../src/http/listener/redirect-server.ts';
import { createReadiness } from '../../../src/telemetry/readiness.ts';
import { type Answer, NO_CONNECTION_LIMITS, problemOf, requestHead, speak } from '../samples.ts';
import { assertRefusedOnce, SMUGGLING } from '../smuggling.ts';

async function startServer({ domains = ['dl.example.org', 'images.example.org'], httpsPort = 443 } = {}) {
  const app = await createRedirectServer({
    logger: pino({ level: 'silent' }),
    connections: NO_CONNECTION_LIMITS,
    drain: createDrain(),
    domains,
    httpsPort: () => httpsPort,
    challenge: async (token) => (token === 'token' ? 'token.thumbprint' : undefined),
    readiness: createReadiness({ part: () => ({ isReady: false, details: { state: 'on its way' } }) }),
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as { port: number };
  return {
    get: (path: string, host = 'dl.example.org') => speak(port, requestHead('GET', path, { host })),
    send: (method: string, path: string, headers: Record<string, string> = {}) =>
      speak(port, requestHead(method, path, headers)),
    raw: (bytes: string) => speak(port, bytes),
    [Symbol.asyncDispose]: async () => {
      app.server.closeAllConnections();
      await app.close();
    },
  };
}

function location(answer: Answer): string | undefined {
  assert.equal(answer.status, 308, answer.head);
  return answer.header('location');
}

suite('plain HTTP beside HTTPS', { timeout: 600_000 }, () => {
  for (const path of [
    '/',
    '/dl?myimage=busybox&platform=linux/arm64',
    '/dl/ghcr.io/a/b:1.tar',
    '//evil.example/',
    '/%0d%0aX:1',
  ]) {
    test(`${path} is sent on to HTTPS as it is`, async () => {
      await using server = await startServer();
      assert.equal(location(await server.get(path)), `https://dl.example.org${path}`);
    });
  }

  test('the host is one of the domains, whatever the client says', async () => {
    await using server = await startServer();
    assert.equal(location(await server.get('/a', 'images.example.org:80')), 'https://images.example.org/a');
    assert.equal(location(await server.get('/a', 'IMAGES.example.org')), 'https://images.example.org/a');
    for (const host of ['evil.example', 'dl.example.org.evil.example', '192.0.2.7:80'])
      assert.equal(location(await server.get('/a', host)), 'https://dl.example.org/a', host);
  });

  test('a Host header that names no host is refused', async () => {
    await using server = await startServer();
    for (const host of ['', 'a@b', 'dl.example.org, evil.example', 'dl.example.org/x', '"', '[::1'])
      assert.equal((await server.get('/a', host)).status, 400, host);
  });

  test('without domains, it is the requested host, if valid', async () => {
    await using server = await startServer({ domains: [], httpsPort: 8443 });
    for (const host of ['dl.lan', '192.0.2.7', '[2001:db8::1]']) {
      assert.equal(location(await server.get('/a', `${host}:8080`)), `https://${host}:8443/a`);
    }
    for (const host of ['a b', 'a@b.example', 'a/b', '<script>', '[::1', '[:1]', '1.2.3.4.5']) {
      const answer = await server.get('/a', host);
      assert.equal(answer.status, 400, host);
      assert.equal(answer.header('location'), undefined);
    }
  });

  test('a whole URL, and HTTP/1.0 without a host, are sent on, too', async () => {
    await using server = await startServer();
    const whole = await server.raw(
      'GET http://evil.example/a?b=c HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
    );
    assert.equal(location(whole), 'https://dl.example.org/a?b=c');
    assert.equal(location(await server.raw('GET /a HTTP/1.0\r\n\r\n')), 'https://dl.example.org/a');
  });

  test('HEAD is sent on, too', async () => {
    await using server = await startServer();
    const answer = await server.send('HEAD', '/dl?myimage=a', { host: 'dl.example.org' });
    assert.equal(location(answer), 'https://dl.example.org/dl?myimage=a');
  });

  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE']) {
    test(`${method} is not, as nothing takes it there`, async () => {
      await using server = await startServer();
      const answer = await server.send(method, '/dl?myimage=a', { 'content-length': '0' });
      assert.equal(answer.status, 405);
      assert.equal(answer.header('allow'), 'GET, HEAD');
      assert.equal(answer.header('location'), undefined);
      problemOf(answer);
    });
  }

  for (const [title, bytes] of Object.entries(SMUGGLING)) {
    test(`an ambiguous request is refused once: ${title}`, async () => {
      await using server = await startServer();
      assertRefusedOnce(await server.raw(bytes));
    });
  }

  test('no more than eight requests before the first answer are worked on', async () => {
    await using server = await startServer();
    const one = requestHead('GET', '/a', { connection: 'keep-alive' });
    const { head, body } = await server.raw(one.repeat(100));
    const answers = `${head}\r\n\r\n${body}`.match(/HTTP\/1\.1 \d{3}/g) ?? [];
    assert.ok(answers.length <= 9, `${answers.length} answers`);
    assert.equal(answers.at(-1), 'HTTP/1.1 400');
  });

  test('people read in plain words what is wrong, as the page is at HTTPS', async () => {
    await using server = await startServer();
    const answer = await server.send('POST', '/', { accept: 'text/html', 'content-length': '0' });
    assert.equal(answer.status, 405);
    assert.equal(answer.header('content-type'), 'text/plain; charset=utf-8');
    assert.match(answer.body.toString(), /^405 Method not allowed\n/);
  });

  test('challenges are answered, and no others', async () => {
    await using server = await startServer();
    const answer = await server.get('/.well-known/acme-challenge/token');
    assert.equal(answer.status, 200);
    assert.equal(answer.body.toString(), 'token.thumbprint');
    const other = await server.get('/.well-known/acme-challenge/other');
    assert.equal(other.status, 404);
    assert.equal(problemOf(other).code, 'route-not-found');
  });

  test('health is reported without HTTPS', async () => {
    await using server = await startServer();
    assert.equal((await server.get('/healthz')).status, 200);
    const ready = await server.get('/readyz');
    assert.equal(ready.status, 503);
    assert.deepEqual(JSON.parse(ready.body.toString()), {
      status: 'not ready',
      checks: { part: { ready: false, state: 'on its way' } },
    });
  });
});

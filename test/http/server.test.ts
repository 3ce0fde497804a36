import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { problemOf, requestHead, sharedServer, speak } from './samples.ts';

suite('the server', { timeout: 600_000 }, () => {
  test('GET /healthz answers as long as the process does, and is never cached', async () => {
    await using server = await sharedServer();
    const answer = await server.get('/healthz');
    assert.equal(answer.status, 200);
    assert.deepEqual(JSON.parse(answer.body.toString()), { status: 'ok' });
    assert.equal(answer.header('cache-control'), 'no-store');
    const head = await server.send('HEAD', '/healthz');
    assert.equal(head.status, 200);
    assert.equal(head.body.length, 0);
  });

  test('GET / is the portal, whose form opens a download', async () => {
    await using server = await sharedServer();
    const answer = await server.get('/');
    assert.equal(answer.status, 200);
    assert.match(answer.header('content-type') ?? '', /^text\/html/);
    assert.match(answer.body.toString(), /\sformaction="\/dl"/);
    assert.match(answer.body.toString(), /\sname="myimage"/);
  });

  for (const path of ['/nothing', '/index.htm', '/healthz/x', '/dl/busybox', '/dl/', '/d', '/v2/']) {
    test(`GET ${path} is a problem that tells where downloads are`, async () => {
      await using server = await sharedServer();
      const answer = await server.get(path);
      assert.equal(answer.status, 404);
      assert.match(problemOf(answer).help, /\/dl\?myimage=/);
      assert.equal(problemOf(answer).code, 'route-not-found');
      assert.deepEqual(server.requests, []);
    });
  }

  for (const path of [
    '/../package.json',
    '/%2e%2e/package.json',
    '/..%2fpackage.json',
    '/..%5cpackage.json',
  ]) {
    test(`nothing outside the portal's folder is served: ${path}`, async () => {
      await using server = await sharedServer();
      const answer = await server.get(path);
      assert.ok([400, 403, 404].includes(answer.status), answer.head);
      problemOf(answer);
      assert.doesNotMatch(answer.body.toString(), /"dependencies"/);
    });
  }

  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    for (const path of ['/', '/dl?myimage=busybox', '/dl/busybox.tar', '/healthz', '/nothing']) {
      test(`${method} ${path} is not allowed, and Allow says what is`, async () => {
        await using server = await sharedServer();
        const answer = await server.send(method, path, { 'content-length': '0' });
        assert.equal(answer.status, 405);
        assert.equal(answer.header('allow'), 'GET, HEAD');
        assert.equal(problemOf(answer).code, 'method-not-allowed');
        assert.deepEqual(server.requests, []);
      });
    }
  }

  const bodies: [string, string][] = [
    ['application/x-www-form-urlencoded', 'myimage=busybox'],
    ['application/json', '{"myimage":"busybox"}'],
    ['text/plain', 'busybox'],
  ];
  for (const [type, body] of bodies) {
    test(`POST with a body of ${type} is not allowed either`, async () => {
      await using server = await sharedServer();
      const head = requestHead('POST', '/dl', { 'content-type': type, 'content-length': `${body.length}` });
      const answer = await speak(server.port, head + body);
      assert.equal(answer.status, 405);
      assert.equal(answer.header('allow'), 'GET, HEAD');
    });
  }

  for (const path of ['/dl?myimage=%zz', '/dl?myimage=%00', '/dl?%', '/dl?myimage=%ff']) {
    test(`GET ${path} is a mistake of the client`, async () => {
      await using server = await sharedServer();
      const answer = await server.get(path);
      assert.equal(answer.status, 400);
      assert.equal(problemOf(answer).status, 400);
      assert.deepEqual(server.requests, []);
    });
  }

  for (const path of ['/dl/%zz.tar', '/dl/%', '/%', '/dl/%ff.tar']) {
    test(`GET ${path} is malformed`, async () => {
      await using server = await sharedServer();
      assert.equal((await server.get(path)).status, 400);
      assert.deepEqual(server.requests, []);
    });

    test(`GET ${path} is a problem of the catalogue`, async () => {
      await using server = await sharedServer();
      assert.equal(problemOf(await server.get(path)).code, 'request-malformed');
    });
  }

  test('the longest references fit into a path, longer ones are a mistake of the client', async () => {
    await using server = await sharedServer();
    const long = `registry.example.org:5000/${'a'.repeat(229)}:${'t'.repeat(128)}@sha512:${'0'.repeat(128)}`;
    assert.equal((await server.get(`/dl/${long}.tar`)).status, 200);
    const answer = await server.get(`/dl/${'a'.repeat(2000)}.tar`);
    assert.ok(answer.status >= 400 && answer.status < 500, answer.head);
    problemOf(answer);
  });

  test('bytes other than HTTP are answered with 400 and the connection ends', async () => {
    await using server = await sharedServer();
    for (const bytes of ['NONSENSE\r\n\r\n', 'GET / HTTP/1.1\r\n\r\n', requestHead('GET', '/ /')]) {
      assert.equal((await speak(server.port, bytes)).status, 400, bytes);
    }
  });

  test('many requests share one connection', async () => {
    await using server = await sharedServer();
    const pair =
      requestHead('GET', '/healthz', { connection: 'keep-alive' }) +
      requestHead('HEAD', '/dl?myimage=busybox');
    const { body, head } = await speak(server.port, pair);
    assert.match(head, /^HTTP\/1\.1 200 /);
    assert.match(body.toString(), /\{"status":"ok"\}HTTP\/1\.1 200 OK\r\n/);
  });
});

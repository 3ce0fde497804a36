import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { suite, test } from 'node:test';
import { keepAlive } from '../../src/http/keep-alive.ts';
import { skipUnless } from '../support/packages.ts';
import { run, temporaryFolder } from '../support/process.ts';
import { speak } from './samples.ts';

/** A server whose answers take until so many interim responses could have been sent. */
async function slowServer(interval: number, interims: number) {
  const server = createServer(async (_request, response) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    setTimeout(resolve, interval * (interims + 0.5));
    await keepAlive(response, promise, interval);
    response.setHeader('content-length', 5);
    response.end('hello');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const { port } = address;
  return {
    port,
    url: `http://127.0.0.1:${port}/`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

suite('an answer that takes its time', () => {
  test('wget waits past its timeout', { skip: skipUnless('wget') }, async () => {
    await using server = await slowServer(400, 3);
    const options = ['--quiet', '--tries=1', '--read-timeout=1', '-O', '-'];
    const { code, stdout, stderr } = await run('wget', [...options, server.url]);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, 'hello');
  });

  test('curl and aria2c pass over it', { skip: skipUnless('curl', 'aria2c') }, async () => {
    await using server = await slowServer(20, 3);
    const { stdout, stderr } = await run('curl', ['-sSv', server.url]);
    assert.equal(stdout, 'hello');
    assert.match(stderr, /^< HTTP\/1\.1 102 Processing/m);
    await using folder = await temporaryFolder();
    const got = await run('aria2c', ['--quiet', '--no-conf', '-d', folder.path, server.url]);
    assert.equal(got.code, 0, got.stdout);
  });

  test('who is not known to wait gets the answer alone, and so does HTTP/1.0', async () => {
    await using server = await slowServer(20, 3);
    for (const request of [
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent: python-requests/2\r\n\r\n',
      'GET / HTTP/1.0\r\nUser-Agent: curl/8\r\n\r\n',
    ]) {
      const { head, status } = await speak(server.port, request);
      assert.equal(status, 200, head);
    }
  });
});

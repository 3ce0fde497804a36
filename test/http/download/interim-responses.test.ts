import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, get, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { suite, type TestContext, test } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import { withInterimResponses } from '../../../src/http/download/interim-responses.ts';
import { listen } from '../../support/listen.ts';
import { skipUnless } from '../../support/packages.ts';
import { run } from '../../support/process.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { waitFor } from '../../support/wait-for.ts';
import { FILE, sampleArchive, speak, startServer } from '../samples.ts';

/** Starts a server that responds when the given work is done. */
async function slowServer(interval: number, work: (response: ServerResponse) => Promise<void>) {
  const server = createServer(async (_request, response) => {
    await withInterimResponses(response, work(response), interval);
    response.setHeader('content-length', 5);
    response.end('hello');
  });
  const listening = await listen(server);
  return { ...listening, url: `http://${listening.host}/` };
}

const INTERVAL_MS = 45_000;

/** Starts a server whose responses take three and a half intervals of mocked time. */
function quickServer({ mock }: TestContext) {
  mock.timers.enable({ apis: ['setInterval'] });
  return slowServer(INTERVAL_MS, async () => {
    await immediate();
    mock.timers.tick(3.5 * INTERVAL_MS);
  });
}

suite('an answer that takes its time', () => {
  test('wget waits past its timeout', { skip: skipUnless('wget') }, async () => {
    // Real time, because wget itself must wait longer than its timeout.
    await using server = await slowServer(400, async (response) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const writeProcessing = response.writeProcessing.bind(response);
      let interims = 0;
      response.writeProcessing = () => {
        writeProcessing();
        interims += 1;
        if (interims === 3) resolve();
      };
      await promise;
    });
    const options = ['--quiet', '--tries=1', '--read-timeout=1', '-O', '-'];
    const { code, stdout, stderr } = await run('wget', [...options, server.url]);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, 'hello');
  });

  test('curl and aria2c ignore it', { skip: skipUnless('curl', 'aria2c') }, async (context) => {
    await using server = await quickServer(context);
    const { stdout, stderr } = await run('curl', ['-sSv', server.url]);
    assert.equal(stdout, 'hello');
    assert.match(stderr, /^< HTTP\/1\.1 102 Processing/m);
    await using folder = await temporaryFolder();
    const got = await run('aria2c', ['--quiet', '--no-conf', '-d', folder.path, server.url]);
    assert.equal(got.code, 0, got.stdout);
  });

  test('unknown clients and HTTP/1.0 get only the final response', async (context) => {
    await using server = await quickServer(context);
    for (const request of [
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent: python-requests/2\r\n\r\n',
      'GET / HTTP/1.0\r\nUser-Agent: curl/8\r\n\r\n',
    ]) {
      const { head, status } = await speak(server.port, request);
      assert.equal(status, 200, head);
    }
  });

  for (const [what, path] of [
    ['a download waits for its archive', '/dl?myimage=busybox'],
    ['a download waits for what is made as it is sent', '/dl?myimage=busybox&stream=1'],
    ['a checksum waits for its archive', '/dl?myimage=busybox&checksum=1'],
  ] as const) {
    test(`${what}, and an interim response follows every 45 seconds`, async (context) => {
      const { promise: made, resolve: make } = Promise.withResolvers<void>();
      let isWaiting = false;
      const wait = async (): Promise<void> => {
        isWaiting = true;
        await made;
      };
      await using server = await startServer({
        open: async ({ stream }) => {
          if (!stream) await wait();
          if (!stream) return sampleArchive();
          const start = () => wait().then(() => Readable.from([FILE]));
          return { ...sampleArchive(), size: undefined, start };
        },
      });
      context.mock.timers.enable({ apis: ['setInterval'] });
      const headers = { 'user-agent': 'Wget/1.21.3' };
      const interims: (number | undefined)[] = [];
      const request = get({ host: '127.0.0.1', port: server.port, path, headers, agent: false });
      request.on('information', ({ statusCode }) => interims.push(statusCode));
      const answered = once(request, 'response');
      await waitFor(() => isWaiting, { what: 'the work' });
      for (const times of [1, 2]) {
        context.mock.timers.tick(INTERVAL_MS);
        await waitFor(() => interims.length === times, { what: 'the interim response' });
      }
      assert.deepEqual(interims, [102, 102]);
      make();
      const [response] = await answered;
      assert.equal(response.statusCode, 200);
      response.resume();
    });
  }
});

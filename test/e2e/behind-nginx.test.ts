import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { get, type IncomingMessage, type RequestOptions } from 'node:http';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { spawnUntil } from '../support/process.ts';
import { reservePort } from '../support/reserve-port.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** Debian's nginx in front of a server, as its documentation says a proxy should be. */
async function startNginx(upstream: string) {
  const folder = await temporaryFolder();
  const port = await reservePort();
  const file = join(folder.path, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(folder.path, name)};`,
  );
  await writeFile(
    file,
    `${process.getuid?.() === 0 ? 'user root;' : ''}
    daemon off;
    worker_processes 1;
    pid ${join(folder.path, 'nginx.pid')};
    events {}
    http {
      ${temporary.join('\n      ')}
      access_log off;
      server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass ${upstream};
          proxy_http_version 1.1;
          proxy_set_header Host $host;
          proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }
      }
    }`,
  );
  const url = `http://127.0.0.1:${port}`;
  const answers = () => httpCall(`${url}/healthz`).then(Boolean, () => false);
  const running = await spawnUntil('nginx', ['-p', folder.path, '-c', file, '-e', 'stderr'], answers).catch(
    async (error) => {
      await folder[Symbol.asyncDispose]();
      throw error;
    },
  );
  return {
    url,
    async [Symbol.asyncDispose]() {
      await running.stop();
      await folder[Symbol.asyncDispose]();
    },
  };
}

interface ClientLimits {
  client: string;
  requests: { remaining: number };
}

type Client = [url: string, localAddress: string, headers?: RequestOptions['headers']];

async function ask(path: string, [url, localAddress, headers = {}]: Client): Promise<IncomingMessage> {
  const asked = get(`${url}${path}`, { localAddress, headers, agent: false });
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return response;
}

/** Sends a request that counts, then reads the remaining quota, which does not count. */
async function limitsOf(...client: Client): Promise<{ response: IncomingMessage; limits: ClientLimits }> {
  const response = await ask('/dl', client);
  response.resume();
  return { response, limits: (await json(await ask('/api/v1/limits', client))) as ClientLimits };
}

suite('behind nginx', { skip: skipUnless('nginx'), timeout: 600_000 }, () => {
  test('each client has its own limits, whatever it claims to be', async () => {
    await using proxy = await startDockerProxy({
      env: { DOCKERPROXY_TRUST_PROXY: '127.0.0.1', DOCKERPROXY_RATE_LIMIT: '3/hour' },
    });
    await using nginx = await startNginx(proxy.url);
    const told = async (...asked: Client): Promise<unknown> => {
      const { client, requests } = (await limitsOf(...asked)).limits;
      return [client, requests.remaining];
    };
    assert.deepEqual(await told(nginx.url, '127.0.0.2'), ['127.0.0.2', 2]);
    assert.deepEqual(await told(nginx.url, '127.0.0.3'), ['127.0.0.3', 2]);
    const forged = { 'x-forwarded-for': '192.0.2.1', 'x-real-ip': '192.0.2.1', forwarded: 'for=192.0.2.1' };
    assert.deepEqual(await told(nginx.url, '127.0.0.2', forged), ['127.0.0.2', 1]);
    const chain = { 'x-forwarded-for': '192.0.2.1, 127.0.0.1' };
    assert.deepEqual(await told(nginx.url, '127.0.0.2', chain), ['127.0.0.2', 0]);

    const { response } = await limitsOf(nginx.url, '127.0.0.2', { 'x-forwarded-for': '192.0.2.9' });
    assert.equal(response.statusCode, 429);
    assert.match(response.statusMessage ?? '', /^More than 3 requests in 1 h; go on in /);
    assert.ok(Number(response.headers['retry-after']) > 0);

    // A direct client that forges the proxy's headers is counted by its own address.
    assert.deepEqual(await told(proxy.url, '127.0.0.4', forged), ['127.0.0.4', 2]);
  });
});

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { readBody } from '../../src/net/body.ts';
import { alsoTrusting, createGuard } from '../../src/net/guard.ts';
import { ANYONE } from '../../src/net/http.ts';
import { createHttpClient } from '../../src/net/http-client.ts';
import { makeCertificates } from '../support/certificates.ts';
import { listen } from '../support/listen.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const never = new AbortController().signal;

suite('resources of one origin', () => {
  test('its authority, our certificate and its headers are for it alone', async () => {
    await using folder = await temporaryFolder();
    const { server, client } = await makeCertificates(folder.path);
    const pem = (...path: string[]): Promise<string> => readFile(join(...path), 'utf8');
    const seen: { peer: string; key: string | string[] | undefined }[] = [];
    const secure = createServer(
      {
        cert: await pem(server, 'cert.pem'),
        key: await pem(server, 'key.pem'),
        ca: await pem(server, 'ca.pem'),
        requestCert: true,
        rejectUnauthorized: false,
      },
      (request, response) => {
        const socket = request.socket as unknown as { getPeerCertificate(): { subject?: { CN: string } } };
        seen.push({
          peer: socket.getPeerCertificate().subject?.CN ?? '',
          key: request.headers['x-api-key'],
        });
        if (request.url === '/away') response.writeHead(302, { location: plainUrl }).end();
        else response.end('here');
      },
    );
    let leaked: unknown = 'nothing was asked';
    await using plain = await listen(
      createHttpServer((request, response) => {
        leaked = request.headers['x-api-key'];
        response.end('there');
      }),
    );
    await using host = await listen(secure);
    const plainUrl = `http://127.0.0.1:${plain.port}/`;
    const origin = `https://127.0.0.1:${host.port}`;
    const tls = {
      authorities: [await pem(server, 'ca.pem')],
      certificate: await pem(client, 'cert.pem'),
      key: await pem(client, 'key.pem'),
      skipVerify: false,
    };
    const guard = alsoTrusting(origin, createGuard([new URL(plainUrl).origin]));
    const http = createHttpClient({
      guard,
      userAgent: 'test',
      own: { origin, headers: { 'x-api-key': 's3cret' }, tls },
    });
    try {
      const at = async (path: string): Promise<string> =>
        `${await readBody(await http.request(new URL(path, origin), {}, never), 100)}`;
      assert.equal(await at('/'), 'here');
      assert.equal(await at('/away'), 'there');
      assert.deepEqual(seen[0], { peer: 'client', key: 's3cret' });
      assert.equal(leaked, undefined, 'the header went on to another origin');

      const stranger = http.request(new URL(origin), { chosenBy: ANYONE }, never);
      await assert.rejects(stranger, { code: 'address-refused' });
      const led = http.request(new URL(origin), { chosenBy: 'https://other.example' }, never);
      await assert.rejects(led, { code: 'address-refused' });
    } finally {
      await http.close();
    }
  });

  test('redirects of others cannot use its route, whatever its name resolves to', async () => {
    let connections = 0;
    await using host = await listen(createHttpServer().on('connection', () => connections++));
    const origin = `https://mirror.test:${host.port}`;
    const http = createHttpClient({
      guard: alsoTrusting(origin, createGuard([])),
      userAgent: 'test',
      lookup: async () => [{ address: '127.0.0.1', family: 4 }],
      own: {
        origin,
        headers: {},
        tls: { authorities: [], certificate: undefined, key: undefined, skipVerify: true },
      },
    });
    for (const chosenBy of [ANYONE, 'https://other.example']) {
      const led = http.request(new URL(origin), { chosenBy }, never);
      await assert.rejects(led, { code: 'address-refused' });
    }
    assert.equal(connections, 0);
    // The server does not speak TLS. The test only checks that it receives a connection.
    await assert.rejects(http.request(new URL(origin), {}, never), { code: 'registry-failed' });
    assert.equal(connections, 1);
    await http.close();
  });

  test('skip_verify is for it alone, too', async () => {
    await using folder = await temporaryFolder();
    const { server } = await makeCertificates(folder.path);
    const secure = createServer(
      {
        cert: await readFile(join(server, 'cert.pem')),
        key: await readFile(join(server, 'key.pem')),
      },
      (_request, response) => response.end('here'),
    );
    await using host = await listen(secure);
    const origin = `https://127.0.0.1:${host.port}`;
    const tls = { authorities: [], certificate: undefined, key: undefined };
    const statusWith = async (skipVerify: boolean): Promise<number> => {
      const http = createHttpClient({
        guard: createGuard([origin]),
        userAgent: 'test',
        own: { origin, headers: {}, tls: { ...tls, skipVerify } },
      });
      const response = await http.request(new URL(origin), {}, never).finally(() => http.close());
      return response.status;
    };
    assert.equal(await statusWith(true), 200);
    await assert.rejects(statusWith(false), { code: 'registry-failed' });
  });
});

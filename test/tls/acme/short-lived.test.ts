import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { suite, test } from 'node:test';
import { setImmediate as settle } from 'node:timers/promises';
import { connect } from 'node:tls';
import { createAcmeProvider } from '../../../src/tls/acme/acme-provider.ts';
import { secureContextOptions } from '../../../src/tls/secure-context.ts';
import { makeSelfSigned } from '../../../src/tls/self-signed.ts';
import { createDiskStore } from '../../../src/tls/stores/certificate-store.ts';
import { listen } from '../../support/listen.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const START = Date.UTC(2027, 0, 1);
const SECOND_MS = 1000;
const LIFETIME_MS = 360 * SECOND_MS;
const HOUR_MS = 3600 * SECOND_MS;
const DOMAIN = 'dl.example.org';
const CHUNK = Buffer.alloc(4096, 'x');

suite('a certificate of six minutes', () => {
  test('lives through an hour of injected time: each connection gets a valid one, and no download breaks', async ({
    mock,
  }) => {
    await using folder = await temporaryFolder();
    mock.timers.enable({ apis: ['setTimeout', 'Date'], now: START });
    let renewals = 0;
    const provider = await createAcmeProvider({
      order: { directory: 'https://ca.example/dir', email: 'ops@example.org', domains: [DOMAIN] },
      store: createDiskStore({ folder: folder.path, onDamage: () => {} }),
      issuer: {
        async issue() {
          const notBefore = Date.now();
          return makeSelfSigned({ names: [DOMAIN], notBefore, notAfter: notBefore + LIFETIME_MS });
        },
      },
      now: Date.now,
      random: () => 0.5,
      log: { temporary() {}, issued() {}, adopted() {}, failed() {}, exhausted() {}, waiting() {} },
    });
    const downloads: ServerResponse[] = [];
    assert.ok(provider.certificate !== undefined);
    const server = createServer(secureContextOptions(provider.certificate), (_request, response) => {
      response.write(CHUNK);
      downloads.push(response);
    });
    await using stack = new AsyncDisposableStack();
    stack.defer(() => provider.close());
    const { port } = stack.use(await listen(server));
    provider.start((certificate) => {
      renewals += 1;
      server.setSecureContext(secureContextOptions(certificate));
    });
    // The mocked clock stands still, so an order in progress is awaited without a timer.
    mock.timers.tick(1);
    const untilRenewed = async (): Promise<void> => {
      while ((provider.status().nextAttempt ?? 0) <= Date.now()) await settle();
    };
    await untilRenewed();

    /** Begins a download, and returns its bytes so far. */
    const begin = async () => {
      const socket = connect({ host: '127.0.0.1', port, servername: DOMAIN, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const shown = socket.getPeerX509Certificate();
      assert.ok(shown !== undefined);
      const isValid = shown.validFromDate.getTime() <= Date.now() && Date.now() < shown.validToDate.getTime();
      assert.ok(isValid, `${new Date().toISOString()}: ${shown.validFrom} to ${shown.validTo}`);
      let received = 0;
      let isWhole = false;
      socket.on('data', (bytes) => {
        received += bytes.length;
        isWhole = bytes.subarray(-5).toString() === '0\r\n\r\n';
      });
      socket.write(`GET / HTTP/1.1\r\nHost: ${DOMAIN}\r\nConnection: close\r\n\r\n`);
      return { closed: once(socket, 'close'), received: () => received, isWhole: () => isWhole };
    };
    const clients = [];
    for (let passed = 0; passed < HOUR_MS; passed += 30 * SECOND_MS) {
      clients.push(await begin());
      mock.timers.tick(30 * SECOND_MS);
      for (const download of downloads) download.write(CHUNK);
      await untilRenewed();
    }
    while (downloads.length < clients.length) await settle();
    for (const download of downloads) download.end();
    await Promise.all(clients.map(({ closed }) => closed));
    assert.ok(renewals >= 14 && renewals <= 17, `${renewals}`);
    assert.ok(clients.every(({ isWhole }) => isWhole()));
    assert.ok((clients[0]?.received() ?? 0) >= 119 * CHUNK.length);
  });
});

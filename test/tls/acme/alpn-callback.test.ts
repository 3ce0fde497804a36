import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { suite, test } from 'node:test';
import { connect, type SecureVersion } from 'node:tls';
import { createAlpnCallback } from '../../../src/tls/acme/alpn-callback.ts';
import { digestOf } from '../../../src/tls/acme/challenge.ts';
import { temporaryCertificate } from '../../../src/tls/self-signed-provider.ts';

const CHALLENGED = { name: 'challenged.example', keyAuthorization: 'token.thumbprint' };

async function startServer(): Promise<Server> {
  const { cert, key } = temporaryCertificate(['usual.example'], Date.now());
  const find = (name: string) => (name.toLowerCase() === CHALLENGED.name ? CHALLENGED : undefined);
  const ALPNCallback = createAlpnCallback(find, Date.now);
  const server = createServer({ cert, key, ALPNCallback }, (_request, response) => response.end('page'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server;
}

suite('TLS-ALPN-01', () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const satisfies SecureVersion[]) {
    /** Connects, sends a request, and returns what the server shows and sends. */
    const visit = async (server: Server, servername: string, ALPNProtocols?: string[]) => {
      const { port } = server.address() as AddressInfo;
      const versions = { minVersion: version, maxVersion: version };
      const offer = { servername, ...(ALPNProtocols && { ALPNProtocols }), rejectUnauthorized: false };
      const socket = connect({ host: '127.0.0.1', port, ...versions, ...offer });
      let received = '';
      socket.setEncoding('utf8').on('data', (text) => {
        received += text;
      });
      try {
        await once(socket, 'secureConnect');
      } catch (error) {
        return { error: (error as NodeJS.ErrnoException).code };
      }
      const certificate = socket.getPeerX509Certificate();
      socket.on('error', () => {});
      socket.write('GET / HTTP/1.1\r\nHost: usual.example\r\nConnection: close\r\n\r\n');
      await once(socket, 'close');
      return { certificate, received, protocol: socket.alpnProtocol };
    };

    test(`shows the challenge to acme-tls/1 for its name alone, and serves nothing there: ${version}`, async () => {
      await using server = await startServer();
      const shown = await visit(server, CHALLENGED.name, ['acme-tls/1']);
      assert.equal(shown.protocol, 'acme-tls/1');
      assert.equal(shown.received, '');
      assert.equal(shown.certificate?.subjectAltName, `DNS:${CHALLENGED.name}`);
      // The extension 1.3.6.1.5.5.7.1.31, critical, with an OCTET STRING of the digest.
      const extension = Buffer.from('06082b0601050507011f0101ff042204 20'.replaceAll(' ', ''), 'hex');
      const digest = digestOf(CHALLENGED.keyAuthorization);
      assert.ok(shown.certificate?.raw.includes(Buffer.concat([extension, digest])));

      for (const protocols of [['http/1.1'], undefined]) {
        const usual = await visit(server, CHALLENGED.name, protocols);
        assert.equal(usual.certificate?.subjectAltName, 'DNS:usual.example');
        assert.match(usual.received ?? '', /page$/);
      }
      const refusal = 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL';
      for (const servername of ['usual.example', ''])
        assert.equal((await visit(server, servername, ['acme-tls/1'])).error, refusal);
      assert.equal((await visit(server, CHALLENGED.name, ['h2'])).error, refusal);
    });
  }
});

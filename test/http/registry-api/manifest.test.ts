import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { suite, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import Fastify, { type FastifyInstance } from 'fastify';
import { makeCertificate } from '../../../bench/certificate.ts';
import { replyWithManifest } from '../../../src/http/registry-api/manifest.ts';
import { isDigest } from '../../../src/oci/digest.ts';
import { parsePlatform } from '../../../src/oci/platform.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import type { PullSource } from '../../../src/pull/pull-source.ts';
import { sha256 } from '../../support/images.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const MEBIBYTE = 2 ** 20;
/** More than the buffers of the kernel take, so that the rest stays in the process. */
const SIZE = 32 * MEBIBYTE;
const CLIENTS = 4;

suite('clients that do not read a manifest', () => {
  const bytes = Buffer.alloc(SIZE, ' ');
  const digest = sha256(bytes);

  /** Returns the growth of a measure of memory while clients wait with the first bytes of their responses. */
  const growth = async (app: FastifyInstance, connected: (port: number) => Socket, measure: () => number) => {
    assert.ok(isDigest(digest));
    const manifest: PullSource['manifest'] = async () => ({
      ...{ bytes, digest, mediaType: 'application/x', contentType: 'application/x' },
    });
    const options = {
      pulls: { manifest } as PullSource,
      defaultPlatform: parsePlatform('linux/amd64'),
    };
    app.get('/', async (request, reply) => {
      const { signal } = new AbortController();
      const pull = { signal, client: 'a', onCostly: async () => {} };
      return replyWithManifest(request, reply, parseReference('a'), options, pull);
    });
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.server.address() as AddressInfo;
    const before = measure();
    const sockets = Array.from({ length: CLIENTS }, () => connected(port));
    for (const socket of sockets) {
      socket.on('error', () => {}).write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
      await once(socket, 'readable');
    }
    const grown = measure() - before;
    for (const socket of sockets) socket.destroy();
    return grown / MEBIBYTE;
  };

  test('share its bytes', async () => {
    await using app = Fastify();
    const grown = await growth(app, connect, () => process.memoryUsage().arrayBuffers);
    assert.ok(grown < 32, `${grown} MiB`);
  });

  test('share its bytes over TLS, too', async () => {
    await using folder = await temporaryFolder();
    const { certificate, key } = await makeCertificate(folder.path);
    const ca = await readFile(certificate);
    await using app = Fastify({ https: { cert: ca, key: await readFile(key) } });
    // The other measures omit the memory of OpenSSL.
    const grown = await growth(
      app as unknown as FastifyInstance,
      (port) => connectTls({ host: '127.0.0.1', port, ca }),
      () => process.memoryUsage().rss,
    );
    assert.ok(grown < 80, `${grown} MiB`);
  });
});

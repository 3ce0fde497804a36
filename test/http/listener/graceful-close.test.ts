import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { suite, test } from 'node:test';
import fastify from 'fastify';
import { createDrain } from '../../../src/http/listener/drain.ts';
import { closeGracefully } from '../../../src/http/listener/graceful-close.ts';
import { waitFor } from '../../support/wait-for.ts';

const NEVER = 60_000;
const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

/** A server and connections to it that it has accepted. */
async function start(patience: number) {
  const app = fastify({ return503OnClosing: false });
  app.get('/', async () => 'hello');
  app.get('/never', (_request, reply) => void reply.hijack().raw.write('he'));
  const drain = createDrain();
  closeGracefully(app, drain, patience);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const open = async () => {
    const accepted = once(app.server, 'connection');
    const socket = connect(port, '127.0.0.1').setEncoding('utf8');
    await accepted;
    return socket;
  };
  const isClosed = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(false)).on('error', () => resolve(true));
      socket.once('connect', () => socket.destroy());
    });
  return { app, drain, open, isClosed };
}

suite('the end of a server', { timeout: 600_000 }, () => {
  test('a connection without a request yet is answered', async () => {
    const { app, open, isClosed } = await start(NEVER);
    const socket = await open();
    const closed = app.close();
    await waitFor(isClosed, { what: 'no more connections' });
    let answer = '';
    socket.on('data', (text) => {
      answer += text;
    });
    socket.write(REQUEST);
    await closed;
    await once(socket, 'close');
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[\s\S]*connection: close\r\n[\s\S]*hello$/i);
  });

  test('an answered or disconnected client is not waited for', async () => {
    const { app, open } = await start(NEVER);
    const [answered, left] = [await open(), await open()];
    answered.write(REQUEST);
    await once(answered, 'data');
    left.destroy();
    await app.close();
  });

  test('an idle connection is closed in the end', async () => {
    const { app, open } = await start(10);
    const socket = await open();
    await app.close();
    await once(socket.resume(), 'close');
  });

  test('when the time for answers is over, all connections close', async () => {
    const { app, drain, open } = await start(NEVER);
    const [answered, silent] = [await open(), await open()];
    answered.write('GET /never HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(answered, 'data');
    const closed = app.close();
    drain.end();
    await Promise.all([closed, ...[answered, silent].map((socket) => once(socket.resume(), 'close'))]);
  });
});

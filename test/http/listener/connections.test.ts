import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { suite, type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { parseAddressRange } from '../../../src/util/ip-address.ts';
import { makeCertificates } from '../../support/certificates.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { waitFor } from '../../support/wait-for.ts';
import {
  type RunningServer,
  requestHead,
  sampleArchive,
  sharedServer,
  soon,
  startServer,
} from '../samples.ts';

/** A time limit for tests that would never end. No test takes nearly as long. */
const GUARD_MS = 120_000;

const HEALTH = requestHead('GET', '/healthz', { connection: 'keep-alive' });
const DL = requestHead('GET', '/dl?myimage=busybox');

/** Opens a connection that received a response; undefined if the server closed it at once. */
async function open({ port }: RunningServer, localAddress = '127.0.0.1'): Promise<Socket | undefined> {
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  socket.on('error', () => {}).write(HEALTH);
  const [first] = await Promise.race([once(socket, 'data', soon()), once(socket, 'close', soon())]);
  return first instanceof Buffer ? socket : undefined;
}

async function close(socket: Socket | undefined): Promise<void> {
  socket?.destroy();
}

/** Waits until one more connection gets a response. */
const hasRoom = (server: RunningServer): Promise<Socket> => waitFor(() => open(server), { what: 'room' });

suite('connections', { timeout: GUARD_MS }, () => {
  test('have a limit for the whole service, and a closed one is free again', async () => {
    await using server = await startServer({ connections: { maxConnections: 2 } });
    const [one, two] = [await open(server), await open(server, '127.0.0.2')];
    assert.ok(one && two);
    assert.equal(await open(server, '127.0.0.3'), undefined);
    assert.match((await server.logged(/Too many connections/)).msg, /1 refused/);
    await close(one);
    await close(await hasRoom(server));
  });

  test('have a limit for each client, which affects no other client', async () => {
    await using server = await startServer({ connections: { connectionsPerClient: 2 } });
    const [one, two] = [await open(server), await open(server)];
    assert.ok(one && two);
    assert.equal(await open(server), undefined);
    assert.ok(await open(server, '127.0.0.2'));
    assert.ok(await server.logged(/Too many connections/));
    await close(one);
    const again = await hasRoom(server);
    assert.equal(await open(server), undefined, 'a connection that was refused makes no room');
    await close(two);
    await close(again);
    const afresh = [await hasRoom(server), await hasRoom(server)];
    assert.equal(await open(server), undefined);
    for (const socket of afresh) await close(socket);
  });

  test('through a proxy count for many clients', async () => {
    const exempt = [parseAddressRange('127.0.0.1')];
    await using server = await startServer({ connections: { connectionsPerClient: 1, exempt } });
    for (let count = 0; count < 3; count++) assert.ok(await open(server));
    assert.ok(await open(server, '127.0.0.2'));
    assert.equal(await open(server, '127.0.0.2'), undefined);
  });
});

/** More bytes than the socket buffers of both sides hold. */
const LARGE = 64 * 1024 * 1024;

/** An archive of zeros, the bytes read from it, and whether a reader is active. */
function largeArchive() {
  const state = { isOver: false, given: 0 };
  const archive = sampleArchive({
    size: LARGE,
    read: () =>
      new Readable({
        read() {
          const size = Math.min(LARGE - state.given, 65_536);
          state.given += size;
          this.push(size > 0 ? Buffer.alloc(size) : null);
        },
      }).once('close', () => {
        state.isOver = true;
      }),
  });
  return { archive, state };
}

/** A manual clock for the limits of connections. */
function mockTime({ mock }: TestContext) {
  let now = 0;
  mock.timers.enable({ apis: ['setInterval'] });
  mock.method(performance, 'now', () => now);
  return {
    pass(milliseconds: number): void {
      for (let left = milliseconds; left > 0; left -= 50) {
        now += 50;
        mock.timers.tick(50);
      }
    },
  };
}

suite('a client that reads slowly', { timeout: GUARD_MS }, () => {
  const slowestClient = { bytesPerSecond: 1024, patience: 500 };

  /** Starts a download and stops reading after the first bytes. */
  async function stalled(socket: Socket): Promise<Socket> {
    socket.on('error', () => {}).write(DL);
    await once(socket, 'readable', soon());
    return socket;
  }

  test('and stops reading is disconnected, which ends all work for it', async (context) => {
    const time = mockTime(context);
    const { archive, state } = largeArchive();
    await using server = await startServer({ open: () => archive, connections: { slowestClient } });
    const socket = await stalled(connect(server.port, '127.0.0.1'));
    await waitFor(() => {
      time.pass(50);
      return state.isOver;
    });
    const { client } = await server.logged(/took too little is cut off/);
    assert.equal(client, '127.0.0.1');
    let length = 0;
    socket.on('data', (chunk: Buffer) => {
      length += chunk.length;
    });
    await once(socket, 'close', soon());
    assert.ok(length < LARGE, 'it looks broken');
    assert.match((await server.logged(/^\[/)).msg, /^\[LEFT\] busybox/);
  });

  test('is disconnected over TLS, too', async (context) => {
    await using folder = await temporaryFolder();
    const { server: made } = await makeCertificates(folder.path);
    const tls = { cert: await readFile(join(made, 'cert.pem')), key: await readFile(join(made, 'key.pem')) };
    const time = mockTime(context);
    const { archive, state } = largeArchive();
    await using server = await startServer({ open: () => archive, connections: { slowestClient }, tls });
    await stalled(connectTls({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false }));
    await waitFor(() => {
      time.pass(50);
      return state.isOver;
    });
    assert.ok(await server.logged(/took too little is cut off/));
  });

  test('gets the whole file if it only pauses now and then', async (context) => {
    const time = mockTime(context);
    const { archive, state } = largeArchive();
    const slowest = { bytesPerSecond: 1024, patience: 3_000 };
    await using server = await startServer({ open: () => archive, connections: { slowestClient: slowest } });
    const socket = await stalled(connect(server.port, '127.0.0.1'));
    const closed = once(socket, 'close');
    /** The client does not read, and the socket buffers are full. */
    const untilBlocked = async (): Promise<void> => {
      let given = -1;
      let unchanged = 0;
      await waitFor(() => {
        unchanged = given === state.given ? unchanged + 1 : 0;
        given = state.given;
        return unchanged === 10;
      });
    };
    let length = 0;
    let pauses = 0;
    const rest = async (): Promise<void> => {
      await untilBlocked();
      time.pass(2_000);
      socket.resume();
    };
    socket.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length < (pauses + 1) * 12e6 || pauses === 5) return;
      pauses += 1;
      socket.pause();
      void rest();
    });
    await closed;
    assert.equal(pauses, 5);
    assert.ok(length > LARGE);
  });

  test('does not count as slow if the archive is slow', async (context) => {
    const time = mockTime(context);
    let received = 0;
    const slow = sampleArchive({
      size: 10,
      read: () =>
        Readable.from(
          (async function* () {
            for (let count = 0; count < 10; count++) {
              await waitFor(() => received >= count);
              time.pass(1_000);
              yield Buffer.from('x');
            }
          })(),
        ),
    });
    await using server = await startServer({ open: () => slow, connections: { slowestClient } });
    const socket = connect(server.port, '127.0.0.1').on('error', () => {});
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      received = (text.split('\r\n\r\n')[1] ?? '').length;
    });
    socket.write(DL);
    await once(socket, 'close');
    assert.equal(received, 10);
  });
});

suite('a client that sends slowly', { timeout: GUARD_MS }, () => {
  const timeouts = { head: 300, request: 600, look: 50 };

  /** Returns the received bytes until the server closes. */
  async function answerTo(socket: Socket): Promise<string> {
    const chunks: Buffer[] = [];
    socket.on('error', () => {}).on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(socket, 'close', soon());
    return Buffer.concat(chunks).toString();
  }

  test('nothing at all loses its connection', async () => {
    await using server = await startServer({ timeouts });
    assert.match(await answerTo(connect(server.port, '127.0.0.1')), /^(?:HTTP\/1\.1 408 .*)?/s);
  });

  test('gets an error for half a head', async () => {
    await using server = await startServer({ timeouts });
    const socket = connect(server.port, '127.0.0.1');
    socket.write('GET /dl?myimage=busybox HTTP/1.1\r\nhost: a\r\n');
    const answer = await answerTo(socket);
    assert.match(answer, /^HTTP\/1\.1 408 /);
    assert.match(answer, /"code":"request-timeout"/);
    assert.deepEqual(server.requests, []);
  });

  test('a head byte by byte, forever, is cut off as well', async () => {
    await using server = await startServer({ timeouts });
    const socket = connect(server.port, '127.0.0.1');
    socket.write('GET /dl?myimage=busybox HTTP/1.1\r\nhost: a\r\nx-slow: ');
    const drip = setInterval(() => socket.write('x'), 20);
    socket.once('close', () => clearInterval(drip));
    assert.match(await answerTo(socket), /^HTTP\/1\.1 408 /);
    clearInterval(drip);
  });

  test('a body, where none belongs, is not waited for', async () => {
    await using server = await sharedServer();
    const socket = connect(server.port, '127.0.0.1');
    socket.write(
      requestHead('GET', '/dl?myimage=busybox', { connection: 'keep-alive', 'content-length': '100' }),
    );
    assert.match(await answerTo(socket), /^HTTP\/1\.1 400 /);
  });

  test('is another one than who downloads for longer than a request may take', async () => {
    const { promise: later, resolve } = Promise.withResolvers<void>();
    const slow = sampleArchive({
      size: 2,
      read: () =>
        Readable.from(
          (async function* () {
            yield Buffer.from('a');
            await later;
            yield Buffer.from('b');
          })(),
        ),
    });
    await using server = await startServer({ open: () => slow, timeouts });
    // A busy machine may take longer to send the request than the server waits for it.
    const begin = async (): Promise<Socket | undefined> => {
      const socket = connect(server.port, '127.0.0.1').on('error', () => {});
      socket.write(DL);
      const [first] = await once(socket, 'data', soon());
      return /^HTTP\/1\.1 200 /.test(`${first}`) ? socket : undefined;
    };
    const answer = answerTo(await waitFor(begin));
    // A later request has exceeded the time limit.
    const late = connect(server.port, '127.0.0.1');
    late.write('GET /dl?myimage=busybox HTTP/1.1\r\nhost: a\r\n');
    assert.match(await answerTo(late), /^HTTP\/1\.1 408 /);
    resolve();
    assert.match(await answer, /b$/);
  });
});

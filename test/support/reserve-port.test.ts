import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { suite, test } from 'node:test';
import { skipUnless } from './packages.ts';
import { run } from './process.ts';
import { reservePort } from './reserve-port.ts';

/** Listens without SO_REUSEADDR, which Node.js always sets. The kernel makes the same check before it chooses a port. */
const LISTEN =
  'exit(IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => shift) ? 0 : 1)';

const listen = async (port: number): Promise<number | null> =>
  (await run('perl', ['-MIO::Socket::INET', '-e', LISTEN, `${port}`])).code;

suite('a reserved port', () => {
  test('goes to no other program', { skip: skipUnless('perl') }, async () => {
    assert.equal(await listen(0), 0);
    assert.equal(await listen(await reservePort()), 1);
  });

  test('refuses connections until a server listens there, and after it has ended', async () => {
    const port = await reservePort();
    const isRefused = async (): Promise<void> => {
      await assert.rejects(once(connect(port, '127.0.0.1'), 'connect'), { code: 'ECONNREFUSED' });
    };
    for (const _ of ['at first', 'again']) {
      await isRefused();
      const server = createServer((socket) => socket.end('hello'));
      await once(server.listen(port, '127.0.0.1'), 'listening');
      const [greeting] = await once(connect(port, '127.0.0.1'), 'data');
      assert.equal(`${greeting}`, 'hello');
      server.close();
      await once(server, 'close');
    }
    await isRefused();
  });

  test('may be one of any loopback address', async () => {
    const server = createServer();
    await once(server.listen(await reservePort('127.0.0.9'), '127.0.0.9'), 'listening');
    server.close();
  });
});

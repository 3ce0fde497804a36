import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type LookupFunction, type Socket } from 'node:net';
import { suite, test } from 'node:test';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { createReadBuffers, type ReadBuffers } from '../../src/net/read-buffers.ts';
import { makeSelfSigned } from '../../src/tls/self-signed.ts';
import { sampleBlob } from '../blobs/samples.ts';

const { bytes } = sampleBlob(5_000_000, 'reading');

interface Connection extends AsyncDisposable {
  /** The end that reads into the buffers. */
  readonly near: Socket;
  readonly far: Socket;
}

async function connection({ onread }: ReadBuffers, protocol: 'tcp' | 'tls' = 'tcp'): Promise<Connection> {
  const { cert, key } = makeSelfSigned({
    names: ['localhost'],
    notBefore: Date.now() - 60_000,
    notAfter: Date.now() + 60_000,
  });
  const isTls = protocol === 'tls';
  const server = isTls ? createTlsServer({ cert, key }) : createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  // Two addresses, of which the first does not answer: the socket gets another handle, which must read into them too.
  const lookup: LookupFunction = (_name, _options, callback) =>
    callback(null, [
      { address: '::1', family: 6 },
      { address: '127.0.0.1', family: 4 },
    ]);
  const options = { host: 'localhost', port, lookup, autoSelectFamily: true, onread };
  const accepted = once(server, isTls ? 'secureConnection' : 'connection');
  const near = isTls ? connectTls({ ...options, ca: cert }) : connect(options);
  const [far] = (await accepted) as [Socket];
  return {
    near,
    far,
    async [Symbol.asyncDispose]() {
      near.destroy();
      far.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** The next chunk, all that has come. */
async function nextChunk(near: Socket): Promise<Buffer> {
  for (;;) {
    const chunk = near.read() as Buffer | null;
    if (chunk !== null) return chunk;
    await once(near, 'readable');
  }
}

suite('memory that connections read into', () => {
  for (const protocol of ['tcp', 'tls'] as const) {
    test(`loses nothing, whether it is given back or not (${protocol})`, async () => {
      for (const isGivenBack of [true, false]) {
        const buffers = createReadBuffers(1_000_000);
        await using connected = await connection(buffers, protocol);
        connected.far.end(bytes);
        const chunks: Buffer[] = [];
        for await (const chunk of connected.near as AsyncIterable<Buffer>) {
          chunks.push(isGivenBack ? Buffer.from(chunk) : chunk);
          if (isGivenBack) buffers.release(chunk);
        }
        assert(Buffer.concat(chunks).equals(bytes));
      }
    });
  }

  test('is used again once all of a chunk is given back, and not before', async () => {
    const buffers = createReadBuffers(1_000_000);
    await using connected = await connection(buffers);
    const { near, far } = connected;
    let sent = 0;
    /** Sends 60 000 bytes and reads them as one chunk. */
    const exchange = async (): Promise<Buffer> => {
      sent += 1;
      far.write(Buffer.alloc(60_000, sent));
      return nextChunk(near);
    };
    const first = await exchange();
    buffers.release(first.subarray(0, 1));
    const others = [await exchange(), await exchange()];
    assert(others.every(({ buffer }) => buffer !== first.buffer));
    assert(first.every((byte) => byte === 1));

    buffers.release(first.subarray(1));
    const again = [await exchange(), await exchange()];
    assert(again.some(({ buffer }) => buffer === first.buffer));
  });

  test('small chunks that wait do not hold a buffer each', async () => {
    const buffers = createReadBuffers(1_000_000);
    await using connected = await connection(buffers);
    const chunks: Buffer[] = [];
    for (let round = 0; round < 20; round += 1) {
      connected.far.write('small');
      chunks.push(await nextChunk(connected.near));
    }
    assert(chunks.every((chunk) => chunk.equals(Buffer.from('small'))));
    const held = new Set(chunks.map(({ buffer }) => buffer));
    assert(held.size <= 2, `${held.size} buffers`);
  });

  test('a reader that waits holds up the sender', async () => {
    const buffers = createReadBuffers(1_000_000);
    await using connected = await connection(buffers);
    const { near, far } = connected;
    const all = Buffer.alloc(64 * 1024 * 1024);
    far.end(all);
    await once(near, 'readable');
    assert(near.bytesRead < all.length / 2);
    near.resume();
    await once(near, 'end');
    assert.equal(near.bytesRead, all.length);
  });
});

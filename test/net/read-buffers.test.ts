import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type LookupFunction, type Socket } from 'node:net';
import { suite, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { createReadBuffers, type ReadBuffers } from '../../src/net/read-buffers.ts';
import { sampleBlob } from '../blobs/samples.ts';
import { waitFor } from '../support/wait-for.ts';

const { bytes } = sampleBlob(5_000_000, 'reading');

interface Connection extends AsyncDisposable {
  /** The receiving socket, which uses the buffers. */
  readonly near: Socket;
  readonly far: Socket;
}

async function connection({ onread }: ReadBuffers): Promise<Connection> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  // Two addresses, of which the first does not answer: the socket gets another handle, which must read into them too.
  const lookup: LookupFunction = (_name, _options, callback) =>
    callback(null, [
      { address: '::1', family: 6 },
      { address: '127.0.0.1', family: 4 },
    ]);
  const near = connect({ host: 'localhost', port, lookup, autoSelectFamily: true, onread });
  const [far] = (await once(server, 'connection')) as [Socket];
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

/** Without a certificate, which a key that both sides know replaces. */
const TLS = {
  ciphers: 'PSK-AES128-GCM-SHA256',
  maxVersion: 'TLSv1.2',
} as const;
const PSK = Buffer.alloc(16, 'key');
const RECORD = 16 * 1024;

async function tlsConnection({ onreadTls: onread }: ReadBuffers): Promise<Connection> {
  const server = createTlsServer({ ...TLS, pskCallback: () => PSK });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  // The types of Node.js lack `onread`, which it documents.
  const reading = { onread, highWaterMark: RECORD };
  const near = connectTls({
    ...{ ...TLS, ...reading, port, host: '127.0.0.1', checkServerIdentity: () => undefined },
    pskCallback: () => ({ psk: PSK, identity: 'test' }),
  });
  const [far] = (await once(server, 'secureConnection')) as [Socket];
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

/** Returns the next chunk with all received bytes. */
async function nextChunk(near: Socket): Promise<Buffer> {
  for (;;) {
    const chunk = near.read() as Buffer | null;
    if (chunk !== null) return chunk;
    await once(near, 'readable');
  }
}

suite('memory that connections read into', () => {
  test('loses no bytes, whether it is released or not', async () => {
    for (const isGivenBack of [true, false]) {
      const buffers = createReadBuffers(1_000_000);
      await using connected = await connection(buffers);
      connected.far.end(bytes);
      const chunks: Buffer[] = [];
      for await (const chunk of connected.near as AsyncIterable<Buffer>) {
        chunks.push(isGivenBack ? Buffer.from(chunk) : chunk);
        if (isGivenBack) buffers.release(chunk);
      }
      assert(Buffer.concat(chunks).equals(bytes));
    }
  });

  test('is used again once all of a chunk is released, and not before', async () => {
    const buffers = createReadBuffers(1_000_000, () => 0);
    await using connected = await connection(buffers);
    const { near, far } = connected;
    const exchange = async (fill: number): Promise<Buffer> => {
      far.write(Buffer.alloc(10_000, fill));
      return nextChunk(near);
    };
    // The first read gets a small buffer.
    await exchange(0);
    const first = await exchange(1);
    buffers.release(first.subarray(0, 1));
    const others = [await exchange(2), await exchange(3)];
    assert(others.every(({ buffer }) => buffer !== first.buffer));
    assert(first.every((byte) => byte === 1));

    buffers.release(first.subarray(1));
    const again = [await exchange(4), await exchange(5)];
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

  test('reads a fast stream in large chunks, and after a pause in small ones', async () => {
    let time = 0;
    const buffers = createReadBuffers(1_000_000, () => time);
    await using connected = await connection(buffers);
    const lengths: number[] = [];
    connected.near.on('data', (chunk: Buffer) => {
      lengths.push(chunk.length);
      buffers.release(chunk);
    });
    /** Sends and reads a number of bytes. Returns the length of the largest chunk. */
    const largestOf = async (length: number): Promise<number> => {
      lengths.length = 0;
      connected.far.write(Buffer.alloc(length));
      await waitFor(() => lengths.reduce((sum, each) => sum + each, 0) === length);
      return Math.max(...lengths);
    };
    assert((await largestOf(4_000_000)) <= 64 * 1024);
    assert((await largestOf(20_000_000)) > 64 * 1024);
    time += 1000;
    await largestOf(1);
    assert((await largestOf(50_000)) <= 32 * 1024);
  });

  test('a reader that waits holds up the sender', async () => {
    await using connected = await connection(createReadBuffers(1_000_000));
    await assertHoldsUp(connected);
  });
});

suite('memory that TLS connections read into', () => {
  test('loses no bytes, whether it is released or not', async () => {
    // A whole number of records, too, because the end then follows a full record.
    for (const length of [bytes.length, 300 * RECORD]) {
      for (const isReleased of [true, false]) {
        const buffers = createReadBuffers(1_000_000);
        await using connected = await tlsConnection(buffers);
        connected.far.end(bytes.subarray(0, length));
        const chunks: Buffer[] = [];
        for await (const chunk of connected.near as AsyncIterable<Buffer>) {
          chunks.push(isReleased ? Buffer.from(chunk) : chunk);
          if (isReleased) buffers.release(chunk);
        }
        assert(Buffer.concat(chunks).equals(bytes.subarray(0, length)));
      }
    }
  });

  test('passes records that arrive together as one chunk', async () => {
    const buffers = createReadBuffers(1_000_000, () => 0);
    await using connected = await tlsConnection(buffers);
    const lengths: number[] = [];
    connected.near.on('data', (chunk: Buffer) => {
      lengths.push(chunk.length);
      buffers.release(chunk);
    });
    connected.far.end(Buffer.alloc(500 * RECORD));
    await once(connected.near, 'end');
    assert(lengths.length < 400, `${lengths.length} chunks`);
    assert(Math.max(...lengths) > RECORD);
  });

  test('passes a full record after a short one to a reader that waits', async () => {
    const buffers = createReadBuffers(1_000_000);
    await using connected = await tlsConnection(buffers);
    const { near, far } = connected;
    // Like the HTTP client, which reads only once this event has told it to.
    near.on('readable', () => {});
    far.write(Buffer.alloc(5_000));
    await waitFor(() => near.readableLength === 5_000);
    for (let round = 0; round < 8; round += 1) {
      far.write(Buffer.alloc(RECORD));
      let received = round === 0 ? -5_000 : 0;
      while (received < RECORD) received += (await nextChunk(near)).length;
      assert.equal(received, RECORD);
    }
  });

  test('a reader that waits holds up the sender', async () => {
    await using connected = await tlsConnection(createReadBuffers(1_000_000));
    await assertHoldsUp(connected);
  });
});

/** Asserts that a connection reads only a part of what the other end sends, until its reader wants more. */
async function assertHoldsUp({ near, far }: Connection): Promise<void> {
  const all = Buffer.alloc(64 * 1024 * 1024);
  far.end(all);
  await waitFor(() => near.readableLength >= near.readableHighWaterMark);
  // Time enough to read all.
  for (let turn = 0; turn < 200; turn += 1) await setImmediate();
  assert(near.bytesRead < all.length / 2);
  let received = 0;
  near.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  await once(near, 'end');
  assert.equal(received, all.length);
}

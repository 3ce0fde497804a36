import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { type BlobHost, streamBlob } from '../../src/registry/blob-stream.ts';
import { send } from '../../src/util/streams.ts';
import { always, sampleBlob } from '../blobs/samples.ts';

const { bytes, descriptor } = sampleBlob(1_000_000, 'a stream');
const whole = { start: 0, end: descriptor.size };
const chunks = Array.from({ length: 10 }, (_, at) => bytes.subarray(at * 100_000, (at + 1) * 100_000));

/** A host whose answer has this body, which may end early, to each request. */
function hostOf(
  body: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  released: Uint8Array[] = [],
): BlobHost {
  return {
    retries: 0,
    open: async () => ({
      status: 200,
      url: new URL('https://registry.example/'),
      header: () => undefined,
      body: Readable.from(body()),
      release: (chunk) => void released.push(chunk),
    }),
  };
}

suite("a blob's stream", () => {
  test('gives the memory of each chunk back when, and not before, the sink is done with it', async () => {
    const released: Uint8Array[] = [];
    const written: Uint8Array[] = [];
    const sink = new Writable({
      highWaterMark: 250_000,
      write(chunk: Uint8Array, _encoding, callback) {
        setImmediate(() => {
          assert(!released.includes(chunk));
          written.push(chunk);
          callback();
        });
      },
    });
    await send(await streamBlob([hostOf(() => chunks, released)], descriptor, whole, always), sink);
    await new Promise<void>((resolve) => sink.end(resolve));
    assert.deepEqual(released, chunks);
    assert.deepEqual(written, chunks);
  });

  test('a host that sends a short page instead leaves no trace', async () => {
    const lying = hostOf(() => [Buffer.from('<html>Please sign in</html>')]);
    const stream = await streamBlob([lying, hostOf(() => chunks)], descriptor, whole, always);
    assert(bytes.equals(await buffer(stream)));
  });

  test('received bytes pass at once, except for the first chunk and the last', async () => {
    const gate = Promise.withResolvers<void>();
    const host = hostOf(async function* () {
      yield* chunks.slice(0, 9);
      await gate.promise;
      yield* chunks.slice(9);
    });
    const stream = await streamBlob([host], descriptor, whole, always);
    let seen = 0;
    stream.on('data', (chunk: Buffer) => {
      seen += chunk.length;
      if (seen === 900_000) gate.resolve();
    });
    await once(stream, 'end');
    assert.equal(seen, bytes.length);
  });

  test('resumes a body that broke during a pause of the sink only after the pause', async () => {
    const asked: number[] = [];
    const broken = Promise.withResolvers<void>();
    const host: BlobHost = {
      ...hostOf(() => []),
      retries: 4,
      retry: () => ({ next: async () => broken.resolve(), restart: () => {} }),
      open: async ({ start }) => {
        asked.push(start);
        const body = new Readable({ read: () => {} });
        for (const chunk of start === 0 ? chunks.slice(0, 3) : [bytes.subarray(start)]) body.push(chunk);
        // By then, the sink has refused the first chunk.
        if (start === 0) setImmediate(() => setImmediate(() => body.destroy(new Error('closed when idle'))));
        else body.push(null);
        const header = (name: string) =>
          name === 'content-range' && start > 0 ? `bytes ${start}-999999/1000000` : undefined;
        const url = new URL('https://registry.example/');
        return { status: start > 0 ? 206 : 200, url, header, body, release: () => {} };
      },
    };
    const written: Uint8Array[] = [];
    const goOn = Promise.withResolvers<void>();
    const sink = new Writable({
      highWaterMark: 1,
      write(chunk: Uint8Array, _encoding, callback) {
        written.push(chunk);
        goOn.promise.then(() => callback());
      },
    });
    const sent = send(await streamBlob([host], descriptor, whole, always), sink);
    await broken.promise;
    await turn();
    assert.deepEqual(asked, [0]);
    goOn.resolve();
    await sent;
    await new Promise<void>((resolve) => sink.end(resolve));
    assert.equal(asked.length, 2);
    assert(bytes.equals(Buffer.concat(written)));
  });
});

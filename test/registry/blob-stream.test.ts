import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { type BlobHost, streamBlob } from '../../src/registry/blob-stream.ts';
import { send } from '../../src/streams.ts';
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

  test('what has come passes at once, but for the first chunk and the last', async () => {
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
});

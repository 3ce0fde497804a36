import assert from 'node:assert/strict';
import { Readable, Writable } from 'node:stream';
import { suite, test } from 'node:test';
import { streamBlob } from '../../src/registry/blob-stream.ts';
import { send } from '../../src/streams.ts';
import { always, sampleBlob } from '../blobs/samples.ts';

suite("a blob's stream", () => {
  test('gives the memory of each chunk back when, and not before, the sink is done with it', async () => {
    const { bytes, descriptor } = sampleBlob(1_000_000, 'a stream');
    const released: Uint8Array[] = [];
    const chunks = Array.from({ length: 10 }, (_, at) => bytes.subarray(at * 100_000, (at + 1) * 100_000));
    const response = {
      status: 200,
      url: new URL('https://registry.example/'),
      header: () => undefined,
      body: Readable.from(chunks),
      release: (chunk: Uint8Array) => void released.push(chunk),
    };
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
    const range = { start: 0, end: descriptor.size };
    await send(streamBlob([{ open: async () => response }], descriptor, range, always), sink);
    await new Promise<void>((resolve) => sink.end(resolve));
    assert.deepEqual(released, chunks);
    assert.deepEqual(written, chunks);
  });
});

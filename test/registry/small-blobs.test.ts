import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { sha256 } from '../../src/oci/digest.ts';
import type { RegistryClient } from '../../src/registry/client.ts';
import { keepingSmallBlobs } from '../../src/registry/small-blobs.ts';
import { createMemoryCaches } from '../../src/util/memory-caches.ts';

const always = new AbortController().signal;
const [app, other] = [
  { domain: 'registry.example', path: 'org/app' },
  { domain: 'registry.example', path: 'org/other' },
];

function setUp(bytes: Uint8Array) {
  let fault: Error | undefined;
  let reads = 0;
  const client = {
    blobs: () => ({
      async read(_blob: Descriptor, range = { start: 0, end: bytes.length }) {
        reads += 1;
        if (fault !== undefined) throw fault;
        return Readable.from([bytes.subarray(range.start, range.end)]);
      },
    }),
  } as Partial<RegistryClient> as RegistryClient;
  const blob = { mediaType: 'application/octet-stream', digest: sha256(bytes), size: bytes.length };
  const keeping = keepingSmallBlobs({ client, caches: createMemoryCaches(() => 0) });
  return {
    blob,
    reads: () => reads,
    fail: (error: Error | undefined) => {
      fault = error;
    },
    read: async (repository = app, range?: { start: number; end: number }) =>
      buffer(await keeping.blobs(repository).read(blob, range, always)),
  };
}

suite('small blobs without a disk cache', () => {
  test('a config is fetched once, however often it is read', async () => {
    const config = setUp(Buffer.from('{"os":"linux"}'));
    for (let time = 0; time < 3; time++) assert.equal((await config.read()).toString(), '{"os":"linux"}');
    assert.equal(config.reads(), 1);
  });

  test('another repository is asked itself', async () => {
    const config = setUp(Buffer.from('{}'));
    await config.read(app);
    await config.read(other);
    assert.equal(config.reads(), 2);
  });

  test('ranges and large blobs are read each time', async () => {
    const config = setUp(Buffer.from('{"os":"linux"}'));
    for (let time = 0; time < 2; time++)
      assert.equal((await config.read(app, { start: 1, end: 5 })).length, 4);
    assert.equal(config.reads(), 2);
    const layer = setUp(Buffer.alloc(64 * 1024 + 1));
    for (let time = 0; time < 2; time++) await layer.read();
    assert.equal(layer.reads(), 2);
  });

  test('a failure is not kept', async () => {
    const config = setUp(Buffer.from('{}'));
    config.fail(new Error('The registry does not respond.'));
    await assert.rejects(config.read(), /does not respond/);
    config.fail(undefined);
    assert.equal((await config.read()).toString(), '{}');
  });
});

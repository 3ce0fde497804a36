import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Entry } from '../../../src/archive/layout.ts';
import { ServiceError } from '../../../src/errors.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { parseDigest, sha256 } from '../../../src/oci/digest.ts';
import { parseReference, type Repository } from '../../../src/oci/reference.ts';
import type { RegistryClient } from '../../../src/registry/client.ts';
import { createInlineMemory, inlineLimitFor } from '../../../src/sources/registry/inline-memory.ts';
import { createMemoryCaches } from '../../../src/util/memory-caches.ts';

const LIMIT = 1_000_000;
const repository: Repository = parseReference('docker.io/library/busybox');
const layer: Descriptor = {
  ...{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', size: 10 ** 9 },
  digest: parseDigest(`sha256:${'a'.repeat(64)}`),
};

function bed() {
  const caches = createMemoryCaches(() => 0);
  const inline = createInlineMemory(caches, LIMIT);
  const used = (): number => caches.uses()[0]?.bytes ?? Number.NaN;
  const begin = (client?: string) => {
    const over = new AbortController();
    return { lease: inline.begin(over.signal, client), end: () => over.abort() };
  };
  return { begin, used, uses: caches.uses };
}

function entriesOf(bytes: number, fill = 0): Entry[] {
  return [
    { path: 'manifest', content: new Uint8Array(bytes).fill(fill) },
    { path: 'layer', content: layer },
  ];
}

/** Returns a client whose manifests have a number of bytes; `reads` counts the blob reads. */
function clientOf(bytes: number) {
  const reads: Descriptor[] = [];
  const fetched = { bytes: new Uint8Array(bytes), digest: sha256(new Uint8Array(0)), contentType: undefined };
  const client: Partial<RegistryClient> = {
    manifest: async () => fetched,
    blobs: () => ({
      read: async (blob) => {
        reads.push(blob);
        throw new Error('The blob is not there.');
      },
    }),
  };
  return { client: client as RegistryClient, reads };
}

const signal = new AbortController().signal;

suite('the memory that archives hold', () => {
  test('counts once for all requests for one archive, until the last one ends', () => {
    const { begin, used } = bed();
    const first = begin();
    const layout = first.lease.keep(entriesOf(200_000));
    const one = used();
    assert.ok(one > 200_000 && one < 210_000, `${one} bytes`);
    const others = Array.from({ length: 100 }, () => begin());
    for (const { lease } of others) assert.equal(lease.keep(entriesOf(200_000)), layout);
    assert.equal(used(), one);
    first.end();
    for (const { end } of others.slice(1)) end();
    assert.equal(used(), one);
    others[0]?.end();
    assert.equal(used(), 0);
  });

  test('counts different archives each, and refuses what is too much with 503', () => {
    const { begin, used } = bed();
    const kept = [1, 2, 3].map((fill) => {
      const request = begin();
      request.lease.keep(entriesOf(250_000, fill));
      return request;
    });
    const late = begin();
    assert.throws(
      () => late.lease.keep(entriesOf(250_000, 4)),
      (error) => error instanceof ServiceError && error.status === 503 && (error.retryAfter ?? 0) > 0,
    );
    kept[0]?.end();
    late.lease.keep(entriesOf(250_000, 4));
    for (const { end } of [...kept, late]) end();
    assert.equal(used(), 0);
  });

  test('counts manifests until they are laid out, and gives them up where the request fails', async () => {
    const { begin, used } = bed();
    const { client } = clientOf(300_000);
    const { lease, end } = begin();
    const counted = lease.counted(client);
    for (const tag of ['a', 'b', 'c']) await counted.manifest(repository, tag, signal);
    assert.equal(used(), 900_000);
    await assert.rejects(counted.manifest(repository, 'd', signal), { code: 'overloaded' });
    lease.end();
    assert.equal(used(), 0);
    end();
    assert.equal(used(), 0);
  });

  test('refuses a config before it is read', async () => {
    const { begin, used } = bed();
    const { client, reads } = clientOf(0);
    const { lease, end } = begin();
    const blobs = lease.counted(client).blobs(repository);
    await assert.rejects(blobs.read({ ...layer, size: LIMIT + 1 }, undefined, signal), {
      code: 'overloaded',
    });
    assert.equal(reads.length, 0);
    end();
    assert.equal(used(), 0);
  });

  test('leaves half of the budget to others, whatever one client requests', async () => {
    const { begin, used } = bed();
    const manifestOf = ({ lease }: ReturnType<typeof begin>) =>
      lease.counted(clientOf(200_000).client).manifest(repository, 'a', signal);
    const requests = Array.from({ length: 3 }, () => begin('192.0.2.1'));
    const refused = (await Promise.allSettled(requests.map(manifestOf))).filter(
      ({ status }) => status === 'rejected',
    );
    assert.equal(refused.length, 1);
    await manifestOf(begin('192.0.2.2'));
    assert.equal(used(), 600_000);
    requests[0]?.end();
    await manifestOf(begin('192.0.2.1'));
  });

  test('counts an archive once for each of its clients', () => {
    const { begin, used } = bed();
    const clients = ['192.0.2.1', '192.0.2.1', '192.0.2.1', '192.0.2.2'];
    const requests = clients.map((client) => begin(client));
    for (const { lease } of requests) lease.keep(entriesOf(240_000));
    const [first, second, third, fourth] = requests;
    const refuses = (): void => {
      assert.throws(() => begin('192.0.2.1').lease.keep(entriesOf(300_000, 1)), { code: 'overloaded' });
    };
    first?.end();
    second?.end();
    refuses();
    third?.end();
    const other = begin('192.0.2.1');
    other.lease.keep(entriesOf(300_000, 1));
    fourth?.end();
    other.end();
    assert.equal(used(), 0);
  });

  test('holds nothing for a request that is over already', async () => {
    const { begin, used } = bed();
    const { lease, end } = begin();
    end();
    assert.throws(() => lease.keep(entriesOf(1000)));
    await assert.rejects(lease.counted(clientOf(1000).client).manifest(repository, 'a', signal));
    assert.equal(used(), 0);
  });

  test('stands in the list of caches', () => {
    assert.deepEqual(bed().uses(), [{ name: 'archive-metadata', bytes: 0, limit: LIMIT }]);
  });
});

suite('the limit of metadata of archives', () => {
  for (const [memory, mebibytes] of [
    [128, 32],
    [512, 64],
    [2048, 96],
    [Number.POSITIVE_INFINITY, 96],
  ] as const) {
    test(`is ${mebibytes} MiB for a process with ${memory} MiB`, () => {
      assert.equal(inlineLimitFor(memory * 2 ** 20), mebibytes * 2 ** 20);
    });
  }
});

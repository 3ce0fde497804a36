import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { sha256 } from '../../src/oci/digest.ts';
import { parseReference } from '../../src/oci/reference.ts';
import type { DescribingClient } from '../../src/registry/client.ts';
import { rememberingBlobs } from '../../src/registry/known-blobs.ts';
import { createUpstreamBudgets, FREE_REQUESTS } from '../../src/registry/upstream-budget.ts';
import { createMemoryCaches } from '../../src/util/memory-caches.ts';

const never = new AbortController().signal;
const repository = parseReference('registry.test/a');
const MANY = { requests: 1000, bytes: 1000, manifests: 1000, blobs: 1000 };
const blobOf = (text: string): Descriptor => {
  const bytes = Buffer.from(text);
  return { mediaType: 'application/octet-stream', digest: sha256(bytes), size: bytes.length };
};

/** Returns a client whose calls each cost a number of requests, and whose manifests have a number of bytes. */
function clientOf(work: () => Promise<void>, bytes = 0): DescribingClient {
  const fetched = async () => {
    await work();
    return { bytes: new Uint8Array(bytes), digest: sha256(new Uint8Array()), contentType: undefined };
  };
  return {
    manifest: fetched,
    referrers: fetched,
    head: async () => void (await work()),
    describe: async () => ({ ...(await fetched()), size: bytes, mediaType: '' }),
    tags: () => work().then(() => ({ tags: [], isComplete: true })),
    findBlob: async () => void (await work()),
    checkSizes: work,
    blobs: () => ({ read: () => assert.fail('No blob is read past the budget') }),
  };
}

suite('upstream budget', () => {
  const counting = (perCall: number, bytes?: number) => {
    const budgets = createUpstreamBudgets();
    let sent = 0;
    const work = async (): Promise<void> => {
      await undefined;
      for (let count = 0; count < perCall; count += 1) {
        sent += 1;
        budgets.count();
      }
    };
    return { budgets, client: budgets.charge(clientOf(work, bytes)), sent: () => sent };
  };

  test('counts every request of a call, and ends the work once they are spent', async () => {
    const { budgets, client, sent } = counting(3);
    const work = async (): Promise<void> => {
      for (;;) await client.findBlob(repository, blobOf('x').digest, never);
    };
    await assert.rejects(budgets.run({ limits: { ...MANY, requests: 10 } }, work), {
      code: 'request-too-costly',
      status: 422,
      message: /more than 10 requests to registries\. Request fewer images or platforms at once,/,
    });
    assert.equal(sent(), 12);
  });

  test('counts the bytes of manifests', async () => {
    const { budgets, client, sent } = counting(1, 400);
    const work = async (): Promise<void> => {
      for (;;) await client.manifest(repository, 'latest', never);
    };
    await assert.rejects(budgets.run({ limits: MANY }, work), { code: 'request-too-costly' });
    assert.equal(sent(), 3);
  });

  test('counts the bytes of a config before it is read', async () => {
    const { budgets, client } = counting(1);
    const config = { ...blobOf('x'), size: 1001 };
    const work = (): Promise<unknown> => client.blobs(repository).read(config, undefined, never);
    await assert.rejects(budgets.run({ limits: MANY }, work), { code: 'request-too-costly' });
  });

  test('counts manifests, and the layers of considered ones', async () => {
    const { budgets, client } = counting(1);
    const manifests = async (): Promise<void> => {
      for (;;) await client.manifest(repository, 'latest', never);
    };
    await assert.rejects(budgets.run({ limits: { ...MANY, manifests: 7 } }, manifests), {
      code: 'request-too-costly',
      message: /more than 7 manifests\./,
    });
    const layers = async (): Promise<void> => {
      for (;;) await client.checkSizes(repository, Array(10).fill(blobOf('x')), never);
    };
    await assert.rejects(budgets.run({ limits: { ...MANY, blobs: 95 } }, layers), {
      code: 'request-too-costly',
      message: /more than 95 layers\./,
    });
  });

  test('is one for each request, and none outside', async () => {
    const { budgets, client, sent } = counting(1);
    const limits = { ...MANY, requests: 2 };
    const two = async (): Promise<void> => {
      await client.head(repository, 'a', never);
      await client.head(repository, 'b', never);
    };
    await Promise.all([budgets.run({ limits }, two), budgets.run({ limits }, two), two(), two()]);
    assert.equal(sent(), 8);
  });

  test('asks once before more than what is free is spent, and ends where that is refused', async () => {
    const { budgets, client, sent } = counting(1);
    let asked = 0;
    const work = (calls: number) => async (): Promise<void> => {
      for (let count = 0; count < calls; count += 1) await client.head(repository, 'a', never);
    };
    const onCostly = async (): Promise<void> => {
      asked += 1;
    };
    await budgets.run({ limits: MANY, onCostly }, work(FREE_REQUESTS));
    assert.equal(asked, 0);
    await budgets.run({ limits: MANY, onCostly }, work(100));
    assert.equal(asked, 1);
    const before = sent();
    const refused = new Error('no slot');
    const refusing = { limits: MANY, onCostly: () => Promise.reject(refused) };
    await assert.rejects(budgets.run(refusing, work(100)), refused);
    assert.equal(sent() - before, FREE_REQUESTS);
  });

  test('for a part of the work also counts against the whole', async () => {
    const { budgets, client, sent } = counting(1);
    const part = (calls: number) =>
      budgets.run({ limits: MANY }, async () => {
        for (let count = 0; count < calls; count += 1) await client.head(repository, 'a', never);
      });
    const whole = async (): Promise<void> => {
      for (;;) await part(3);
    };
    const refused = new Error('no slot');
    await assert.rejects(budgets.run({ limits: { ...MANY, requests: 10 } }, whole), {
      code: 'request-too-costly',
    });
    assert.equal(sent(), 10);
    const refusing = { limits: MANY, onCostly: () => Promise.reject(refused) };
    await assert.rejects(budgets.run(refusing, whole), refused);
    assert.equal(sent(), 10 + FREE_REQUESTS);
  });

  test('checks each page of a list that one call reads', async () => {
    const budgets = createUpstreamBudgets();
    const refused = new Error('no slot');
    let pages = 0;
    const readPages = async (): Promise<void> => {
      for (;;) {
        await budgets.admit();
        pages += 1;
        budgets.count();
      }
    };
    const client = budgets.charge(clientOf(readPages));
    const refusing = { limits: MANY, onCostly: () => Promise.reject(refused) };
    await assert.rejects(
      budgets.run(refusing, () => client.tags(repository, never)),
      refused,
    );
    assert.equal(pages, FREE_REQUESTS);
    await budgets.admit();
  });

  test('sends a few calls at once, and an abort ends those that wait', async () => {
    const budgets = createUpstreamBudgets();
    const abort = new AbortController();
    let begun = 0;
    const hangs = (): Promise<void> => {
      begun += 1;
      return new Promise((_, reject) =>
        abort.signal.addEventListener('abort', () => reject(abort.signal.reason)),
      );
    };
    const client = budgets.charge(clientOf(hangs));
    const work = async () =>
      Promise.allSettled(Array.from({ length: 100 }, () => client.head(repository, 'a', abort.signal)));
    const all = budgets.run({ limits: MANY }, work);
    await new Promise(setImmediate);
    abort.abort();
    const results = await all;
    assert.equal(begun, 8);
    assert.ok(results.every(({ status }) => status === 'rejected'));
  });
});

suite('answers about blobs', () => {
  test('are remembered for a time, and a missing blob for less', async () => {
    let now = 1000;
    let asked = 0;
    let isThere = true;
    const client = rememberingBlobs({
      client: {
        ...clientOf(async () => {}),
        findBlob: async () => {
          asked += 1;
          return isThere ? { size: 1 } : undefined;
        },
      },
      caches: createMemoryCaches(() => now),
    });
    const has = async (text: string): Promise<boolean> =>
      (await client.findBlob(repository, blobOf(text).digest, never)) !== undefined;
    assert.deepEqual([await has('a'), await has('a'), asked], [true, true, 1]);
    now += 601_000;
    isThere = false;
    assert.deepEqual([await has('a'), await has('a'), asked], [false, false, 2]);
    isThere = true;
    now += 31_000;
    assert.deepEqual([await has('a'), asked], [true, 3]);
    await client.findBlob(parseReference('registry.test/b'), blobOf('a').digest, never);
    assert.equal(asked, 4);
  });
});

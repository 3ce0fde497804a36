import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ServiceError } from '../../src/errors.ts';
import { type CountingStore, LEASE_MS } from '../../src/limits/counting-store.ts';
import { createDownloadSlots } from '../../src/limits/download-slots.ts';
import { createMemoryCountingStore } from '../../src/limits/memory-counting-store.ts';

const NO_LIMITS = { perClient: 0, total: 0, connections: 0 };
const LIMITS = { perClient: 2, total: 3, connections: 0 };

async function codeOf(taking: Promise<unknown>): Promise<string | undefined> {
  return taking.then(
    () => undefined,
    ({ code }: ServiceError) => code,
  );
}

suite('downloads at once', () => {
  test('are limited for each client and for all together', async () => {
    const slots = createDownloadSlots(createMemoryCountingStore(Date.now), LIMITS, 'one');
    const leave = await slots.take('c', 'a');
    await slots.take('c', 'b');
    assert.equal(await codeOf(slots.take('c', 'd')), 'too-many-downloads');
    const leaveOther = await slots.take('other', 'd');
    assert.equal(await codeOf(slots.take('third', 'd')), 'service-full');
    leave();
    assert.equal(await slots.active('c'), 1);
    await slots.take('c', 'd');
    leaveOther();
  });

  test('connections to one archive are one, until the last of them ends', async () => {
    const slots = createDownloadSlots(
      createMemoryCountingStore(Date.now),
      { ...NO_LIMITS, perClient: 1 },
      'one',
    );
    const [first, ...rest] = await Promise.all(Array.from({ length: 8 }, () => slots.take('c', 'a')));
    assert.equal(await slots.active('c'), 1);
    for (const leave of rest) leave();
    assert.equal(await codeOf(slots.take('c', 'b')), 'too-many-downloads');
    first?.();
    assert.equal(await slots.active('c'), 0);
    assert.equal(await codeOf(slots.take('c', 'b')), undefined);
  });

  test('concurrent requests get the same decisions as sequential ones', async () => {
    const slots = createDownloadSlots(createMemoryCountingStore(Date.now), LIMITS, 'one');
    const codes = await Promise.all(
      ['a', 'b', 'd', 'd', 'e', 'a'].map((archive) => codeOf(slots.take('c', archive))),
    );
    const refused = 'too-many-downloads';
    assert.deepEqual(codes, [undefined, undefined, refused, refused, refused, undefined]);
  });

  test('a refused download holds no slot', async () => {
    const slots = createDownloadSlots(
      createMemoryCountingStore(Date.now),
      { ...NO_LIMITS, perClient: 1 },
      'one',
    );
    const leave = await slots.take('c', 'a');
    for (let time = 0; time < 10; time += 1) await codeOf(slots.take('c', 'b'));
    leave();
    assert.equal(await codeOf(slots.take('c', 'b')), undefined);
  });

  test('in a running process are held for as long as they take', async (context) => {
    context.mock.timers.enable({ apis: ['setInterval'] });
    const clock = { now: 0 };
    const store = createMemoryCountingStore(() => clock.now);
    const slots = createDownloadSlots(store, { ...NO_LIMITS, perClient: 1 }, 'one');
    const leave = await slots.take('c', 'a');
    for (let passed = 0; passed < 10 * LEASE_MS; passed += LEASE_MS / 6) {
      clock.now += LEASE_MS / 6;
      context.mock.timers.tick(LEASE_MS / 6);
    }
    assert.equal(await slots.active('c'), 1);
    leave();
    assert.equal(await slots.active('c'), 0);
  });

  test('cost nothing without a limit', async () => {
    const store = new Proxy({} as CountingStore, { get: () => assert.fail('the store is not asked') });
    const slots = createDownloadSlots(store, NO_LIMITS, 'one');
    (await slots.take('c', 'a'))();
  });

  for (const perClient of [0, 4]) {
    test(`have a maximum of connections, with ${perClient} downloads at once`, async () => {
      const limits = { ...NO_LIMITS, perClient, connections: 16 };
      const slots = createDownloadSlots(createMemoryCountingStore(Date.now), limits, 'one');
      const all = Array.from({ length: 300 }, () => slots.take('c', 'a'));
      const codes = await Promise.all(all.map(codeOf));
      assert.equal(codes.filter((code) => code === undefined).length, 16);
      assert.deepEqual([...new Set(codes.slice(16))], ['too-many-connections']);
      await slots.take('c', 'b');
      await slots.take('other', 'a');
      (await all[0])?.();
      await slots.take('c', 'a');
      assert.equal(await codeOf(slots.take('c', 'a')), 'too-many-connections');
    });
  }
});

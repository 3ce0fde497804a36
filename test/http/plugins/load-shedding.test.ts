import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { standardPressureLimits } from '../../../src/http/plugins/load-shedding.ts';
import { createMemoryCaches } from '../../../src/memory-caches.ts';
import { waitFor } from '../../support/process.ts';
import { NO_PRESSURE_LIMITS, problemOf, startServer } from '../samples.ts';

const DL = '/dl?myimage=busybox';

suite('under pressure', { timeout: 600_000 }, () => {
  test('new requests are told to come again, health checks are answered, and the log says why', async () => {
    await using server = await startServer({ pressure: { ...NO_PRESSURE_LIMITS, maxHeap: 1 } });
    const answer = await waitFor(async () => {
      const one = await server.get(DL);
      return one.status === 503 && one;
    });
    assert.equal(problemOf(answer).code, 'overloaded');
    assert.equal(answer.header('retry-after'), '10');
    assert.equal((await server.get('/')).status, 503);
    assert.equal((await server.get('/healthz')).status, 200);
    assert.equal((await server.logged(/Overloaded/)).type, 'heapUsedBytes');
    assert.equal(server.log.filter(({ msg }) => /Overloaded/.test(msg)).length, 1, 'once in a while');
  });

  test('caches are emptied if the heap is short, and otherwise lose expired entries', async () => {
    const clock = { now: 0 };
    const held = async (maxHeap: number): Promise<(name: string) => number | undefined> => {
      const caches = createMemoryCaches(() => clock.now);
      caches.open<string>({ name: 'brief', limit: 1000, ttl: 5 }).set('k', 'v');
      caches.open<string>({ name: 'lasting', limit: 1000 }).set('k', 'v');
      clock.now += 10;
      const pressure = { ...NO_PRESSURE_LIMITS, maxHeap, interval: 1 };
      await using server = await startServer({ caches, pressure });
      const bytesOf = (name: string) => caches.uses().find((use) => use.name === name)?.bytes;
      await waitFor(() => bytesOf('brief') === 0, { what: 'the expired entry to go' });
      assert.equal((await server.get('/healthz')).status, 200);
      return bytesOf;
    };
    assert.equal((await held(1))('lasting'), 0);
    assert.ok(((await held(Number.MAX_SAFE_INTEGER))('lasting') ?? 0) > 0);
  });

  test('an event loop that is late refuses, and one that is not any more answers again', async () => {
    await using server = await startServer({ pressure: { ...NO_PRESSURE_LIMITS, maxDelay: 30 } });
    const busy = setInterval(() => {
      const begun = performance.now();
      while (performance.now() - begun < 100);
    }, 1);
    try {
      await waitFor(async () => (await server.get(DL)).status === 503);
      assert.equal((await server.get('/healthz')).status, 200);
    } finally {
      clearInterval(busy);
    }
    await waitFor(async () => (await server.get(DL)).status === 200);
  });

  test('without a delay limit, a late event loop refuses no requests', async () => {
    await using server = await startServer({ pressure: { ...NO_PRESSURE_LIMITS, interval: 20 } });
    for (let sample = 0; sample < 5; sample++) {
      const begun = performance.now();
      while (performance.now() - begun < 100);
      assert.equal((await server.get(DL)).status, 200);
    }
  });

  test('an idle process needs far less heap than the limit', async () => {
    assert.ok(process.memoryUsage().heapUsed < standardPressureLimits(0).maxHeap / 2);
  });
});

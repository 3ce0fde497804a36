import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get } from 'node:http';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import type { Archive } from '../../../src/sources/image-source.ts';
import { createMemoryCaches } from '../../../src/util/memory-caches.ts';
import type { MemoryGauge } from '../../../src/util/memory-gauges.ts';
import { waitFor } from '../../support/wait-for.ts';
import { NO_PRESSURE_LIMITS, problemOf, type RunningServer, sampleArchive, startServer } from '../samples.ts';

const DL = '/dl?myimage=busybox';

suite('under pressure', { timeout: 600_000 }, () => {
  test('new requests get a Retry-After, health checks are answered, and the log states the reason', async () => {
    const gauge = gaugeOf(0);
    await using server = await startServer({
      open: downloadThatLasts,
      pressure: { ...NO_PRESSURE_LIMITS, memory: [gauge] },
    });
    using _download = await hold(server);
    gauge.used = 90;
    const answer = await waitFor(async () => {
      const one = await server.get('/api/v1/info');
      return one.status === 503 && one;
    });
    assert.equal(problemOf(answer).code, 'overloaded');
    assert.equal(answer.header('retry-after'), '10');
    assert.equal((await server.get('/')).status, 503);
    assert.equal((await server.get('/healthz')).status, 200);
    const { type, value, limit } = await server.logged(/Overloaded/);
    assert.deepEqual({ type, value, limit }, { type: 'testBytes', value: 90, limit: 85 });
    assert.equal(server.log.filter(({ msg }) => /Overloaded/.test(msg)).length, 1, 'once in a while');
  });

  test('requests are accepted again when memory falls below the limit', async () => {
    const gauge = gaugeOf(0);
    await using server = await startServer({
      open: downloadThatLasts,
      pressure: { ...NO_PRESSURE_LIMITS, memory: [gauge], interval: 5 },
    });
    using _download = await hold(server);
    gauge.used = 90;
    await waitFor(async () => (await server.get('/api/v1/info')).status === 503);
    gauge.used = 80;
    await waitFor(async () => (await server.get('/api/v1/info')).status === 200);
  });

  test('one request at a time is accepted while memory stays short', async () => {
    const gauge = gaugeOf(90);
    let collections = 0;
    const collectGarbage = (): void => {
      collections += 1;
    };
    const pressure = { ...NO_PRESSURE_LIMITS, memory: [gauge], collectGarbage, interval: 5 };
    await using server = await startServer({ open: downloadThatLasts, pressure });
    await waitFor(() => collections > 0, { what: 'a sample' });
    {
      using _download = await hold(server);
      assert.equal((await server.get('/api/v1/info')).status, 503);
    }
    await waitFor(async () => (await server.get('/api/v1/info')).status === 200);
  });

  test('caches and garbage are freed before any request is refused', async () => {
    const gauge = gaugeOf(90);
    let collections = 0;
    const collectGarbage = (): void => {
      collections += 1;
      gauge.used = 50;
    };
    const { caches, bytesOf } = filledCaches();
    await using server = await startServer({
      caches,
      pressure: { ...NO_PRESSURE_LIMITS, memory: [gauge], collectGarbage, interval: 5 },
    });
    await waitFor(() => collections > 0, { what: 'a collection' });
    assert.equal(bytesOf('lasting'), 0);
    assert.equal((await server.get(DL)).status, 200);
    assert.equal(collections, 1);
  });

  test('caches are emptied occasionally below the limit', async () => {
    let collections = 0;
    const { caches, bytesOf } = filledCaches();
    let reads = 0;
    const gauge = {
      ...gaugeOf(0),
      read() {
        reads += 1;
        return { used: 80, limit: 100 };
      },
    };
    const collectGarbage = (): void => {
      collections += 1;
    };
    await using server = await startServer({
      caches,
      pressure: { ...NO_PRESSURE_LIMITS, memory: [gauge], collectGarbage, interval: 1 },
    });
    await waitFor(() => reads > 40, { what: 'samples' });
    assert.equal(bytesOf('lasting'), 0);
    assert.ok(collections > 0 && collections < reads / 4, `${collections} collections in ${reads} reads`);
    assert.equal((await server.get(DL)).status, 200);
  });

  test('without pressure, caches lose only expired entries', async () => {
    const { caches, bytesOf, expire } = filledCaches();
    expire();
    await using server = await startServer({ caches, pressure: { ...NO_PRESSURE_LIMITS, interval: 1 } });
    await waitFor(() => bytesOf('brief') === 0, { what: 'the expired entry to go' });
    assert.equal((await server.get(DL)).status, 200);
    assert.ok((bytesOf('lasting') ?? 0) > 0);
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
});

function downloadThatLasts(): Archive {
  const read = (): Readable => {
    const stream = new Readable({ read() {} });
    stream.push('first bytes');
    return stream;
  };
  return sampleArchive({ read });
}

/** Starts a download, which ends on disposal. */
async function hold(server: RunningServer): Promise<Disposable> {
  const request = get({ port: server.port, path: DL, agent: false }).on('error', () => {});
  await once(request, 'response');
  return { [Symbol.dispose]: () => request.destroy() };
}

function gaugeOf(used: number): MemoryGauge & { used: number } {
  return {
    name: 'testBytes',
    used,
    read() {
      return { used: this.used, limit: 100 };
    },
    close() {},
  };
}

function filledCaches() {
  const clock = { now: 1 };
  const caches = createMemoryCaches(() => clock.now);
  caches.open<string>({ name: 'brief', limit: 1000, ttl: 5 }).set('k', 'v');
  caches.open<string>({ name: 'lasting', limit: 1000 }).set('k', 'v');
  return {
    caches,
    bytesOf: (name: string) => caches.uses().find((use) => use.name === name)?.bytes,
    expire() {
      clock.now += 10;
    },
  };
}

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { redisUrl } from '../../src/config/redis-url.ts';
import { createBufferedCountingStore } from '../../src/limits/buffered-counting-store.ts';
import { type CountingStore, LEASE_MS, type Lease } from '../../src/limits/counting-store.ts';
import { createFallbackCountingStore } from '../../src/limits/fallback-counting-store.ts';
import { createMemoryCountingStore } from '../../src/limits/memory-counting-store.ts';
import { createRedisCountingStore } from '../../src/limits/redis-counting-store.ts';
import { openSqliteCountingStore } from '../../src/limits/sqlite-counting-store.ts';
import { connectRedis } from '../../src/redis/connect.ts';
import type { Redis } from '../../src/redis/redis.ts';
import { skipUnless } from '../support/packages.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const MINUTE = 60_000;
const NO_LIMIT = { perClient: 0, total: 0 };

/** Opens a store. The stack disposes of what it needs. */
type Open = (stack: AsyncDisposableStack, now: () => number) => Promise<CountingStore>;

const openFile = async (stack: AsyncDisposableStack, now: () => number) => {
  const folder = stack.use(await temporaryFolder());
  return openSqliteCountingStore(join(folder.path, 'limits.sqlite'), now);
};

const kinds: Record<string, Open> = {
  memory: async (_stack, now) => createMemoryCountingStore(now),
  sqlite: openFile,
  buffered: async (stack, now) => createBufferedCountingStore({ store: await openFile(stack, now), now }),
  async redis(stack, now) {
    const server = stack.use(await startRedis());
    return createRedisCountingStore(
      stack.adopt(await connectTo(server), (client) => client.close()),
      now,
    );
  },
};

function connectTo({ url }: RedisServer): Promise<Redis> {
  return connectRedis(redisUrl.parse(url), { lost() {}, returned() {} });
}

async function addOne(store: CountingStore, counter: string, amount: number, window = MINUTE) {
  const [count] = await store.add([{ counter, amount, window }]);
  assert.ok(count !== undefined);
  return count;
}

function lease(client: string, archive: string, holder = 'one'): Lease {
  return { client, archive, holder };
}

for (const [kind, open] of Object.entries(kinds)) {
  const skip = kind === 'redis' && skipUnless('redis-server');
  suite(`the counting store: ${kind}`, { skip, timeout: 60_000 }, () => {
    const clock = { now: 0 };
    let stack: AsyncDisposableStack;
    let store: CountingStore;

    beforeEach(async () => {
      stack = new AsyncDisposableStack();
      clock.now = Date.now();
      store = stack.adopt(await open(stack, () => clock.now), (opened) => opened.close());
    });
    afterEach(() => stack.disposeAsync());

    test('a counter adds up until its window is over, then begins again', async () => {
      assert.deepEqual(await addOne(store, 'a', 2), { value: 2, resetsIn: MINUTE });
      clock.now += 20_000;
      assert.deepEqual(await addOne(store, 'a', 3), { value: 5, resetsIn: 40_000 });
      clock.now += 39_999;
      assert.deepEqual(await addOne(store, 'a', 1), { value: 6, resetsIn: 1 });
      clock.now += 1;
      assert.deepEqual(await addOne(store, 'a', 1), { value: 1, resetsIn: MINUTE });
    });

    test('an amount of 0 reads and begins nothing', async () => {
      assert.deepEqual(await addOne(store, 'a', 0), { value: 0, resetsIn: MINUTE });
      clock.now += 1000;
      await addOne(store, 'a', 7);
      clock.now += 1000;
      assert.deepEqual(await addOne(store, 'a', 0), { value: 7, resetsIn: MINUTE - 1000 });
      clock.now += MINUTE;
      assert.deepEqual(await addOne(store, 'a', 0), { value: 0, resetsIn: MINUTE });
    });

    test('a counter begins again after the clock was set back', async () => {
      await addOne(store, 'a', 100);
      await addOne(store, 'a', 100);
      clock.now -= 24 * 60 * MINUTE;
      assert.deepEqual(await addOne(store, 'a', 0), { value: 0, resetsIn: MINUTE });
      assert.deepEqual(await addOne(store, 'a', 1), { value: 1, resetsIn: MINUTE });
      assert.deepEqual(await addOne(store, 'a', 1), { value: 2, resetsIn: MINUTE });
    });

    test('a negative amount takes back, down to 0', async () => {
      const value = async (amount: number) => (await addOne(store, 'a', amount)).value;
      assert.deepEqual([await value(-3), await value(7), await value(-2), await value(0)], [0, 7, 5, 5]);
      assert.deepEqual([await value(-9), await value(1)], [0, 1]);
      clock.now += MINUTE;
      assert.equal(await value(-1), 0);
      assert.deepEqual(await addOne(store, 'a', 1), { value: 1, resetsIn: MINUTE });
    });

    test('several counters at once keep their order, and have windows of their own', async () => {
      const additions = [
        { counter: 'a', amount: 1, window: MINUTE },
        { counter: 'b', amount: 2 ** 40, window: 24 * 60 * MINUTE },
        { counter: 'a', amount: 1, window: MINUTE },
      ];
      const values = async () => (await store.add(additions)).map(({ value }) => value);
      assert.deepEqual(await values(), [1, 2 ** 40, 2]);
      clock.now += MINUTE;
      assert.deepEqual(await values(), [1, 2 ** 41, 2]);
      assert.deepEqual(await store.add([]), []);
    });

    test('a counter is the sum of all additions, in any order', async () => {
      const amounts = fc.array(fc.tuple(fc.constantFrom('x', 'y'), fc.nat(2 ** 40)), { maxLength: 20 });
      let run = 0;
      await fc.assert(
        fc.asyncProperty(amounts, async (all) => {
          run += 1;
          const sums = new Map([
            ['x', 0],
            ['y', 0],
          ]);
          await Promise.all(all.map(([name, amount]) => addOne(store, `${run}${name}`, amount)));
          for (const [name, amount] of all) sums.set(name, (sums.get(name) ?? 0) + amount);
          for (const [name, sum] of sums) assert.equal((await addOne(store, `${run}${name}`, 0)).value, sum);
        }),
      );
    });

    test('a client gets as many leases as the limit says, and another one when one ends', async () => {
      const limits = { perClient: 2, total: 0 };
      assert.equal(await store.acquire(lease('c', 'a'), limits), 'granted');
      assert.equal(await store.acquire(lease('c', 'b'), limits), 'granted');
      assert.equal(await store.acquire(lease('c', 'd'), limits), 'client-full');
      assert.equal(await store.acquire(lease('other', 'd'), limits), 'granted');
      assert.equal(await store.active('c'), 2);
      await store.release(lease('c', 'a'));
      assert.equal(await store.acquire(lease('c', 'd'), limits), 'granted');
      assert.equal(await store.active('c'), 2);
      assert.equal(await store.active('nobody'), 0);
    });

    test('all clients together get as many as the total says', async () => {
      const limits = { perClient: 0, total: 2 };
      assert.equal(await store.acquire(lease('c', 'a'), limits), 'granted');
      assert.equal(await store.acquire(lease('d', 'a'), limits), 'granted');
      assert.equal(await store.acquire(lease('e', 'a'), limits), 'service-full');
      assert.equal(await store.acquire(lease('c', 'a'), limits), 'granted', 'it has that one');
      await store.release(lease('d', 'a'));
      assert.equal(await store.acquire(lease('e', 'a'), limits), 'granted');
    });

    test('parts that processes have in one download are one, which ends with the last of them', async () => {
      const limits = { perClient: 1, total: 1 };
      assert.equal(await store.acquire(lease('c', 'a', 'one'), limits), 'granted');
      assert.equal(await store.acquire(lease('c', 'a', 'two'), limits), 'granted');
      assert.equal(await store.active('c'), 1);
      await store.release(lease('c', 'a', 'one'));
      assert.equal(await store.acquire(lease('c', 'b', 'one'), limits), 'client-full');
      await store.release(lease('c', 'a', 'two'));
      assert.equal(await store.acquire(lease('c', 'b', 'one'), limits), 'granted');
      await store.acquire(lease('c', 'b', 'two'), limits);
      const two = { perClient: 0, total: 2 };
      assert.equal(await store.acquire(lease('d', 'a', 'one'), two), 'granted');
      assert.equal(await store.acquire(lease('e', 'a', 'one'), two), 'service-full');
    });

    test('a lease without renewal expires', async () => {
      const limits = { perClient: 2, total: 2 };
      await store.acquire(lease('c', 'a'), limits);
      await store.acquire(lease('c', 'b'), limits);
      clock.now += LEASE_MS - 1;
      await store.renew([lease('c', 'b')]);
      assert.equal(await store.active('c'), 2);
      clock.now += 1;
      assert.equal(await store.active('c'), 1);
      assert.equal(await store.acquire(lease('c', 'd'), limits), 'granted');
      assert.equal(await store.acquire(lease('c', 'a'), limits), 'client-full');
      clock.now += LEASE_MS;
      assert.equal(await store.active('c'), 0);
    });

    test('a lease that expired while its process was paused is taken again, and a double release is ignored', async () => {
      await store.acquire(lease('c', 'a'), NO_LIMIT);
      clock.now += 10 * LEASE_MS;
      await store.acquire(lease('d', 'a'), NO_LIMIT);
      await store.renew([lease('c', 'a')]);
      assert.equal(await store.active('c'), 1);
      await store.renew([]);
      await store.release(lease('c', 'none'));
      assert.equal(await store.active('c'), 1);
    });

    test('a thousand leases are renewed, and expired ones leave nothing behind', async () => {
      const many = Array.from({ length: 1000 }, (_, at) => lease(`client ${at % 10}`, `${at}`));
      await store.renew(many);
      assert.equal(await store.active('client 3'), 100);
      clock.now += LEASE_MS;
      assert.equal(await store.active('client 3'), 0);
      assert.equal(await store.acquire(lease('c', 'a'), { perClient: 1, total: 1 }), 'granted');
    });
  });
}

suite('state shared by processes of one machine', { timeout: 600_000 }, () => {
  let folder: TemporaryFolder;
  let path: string;

  beforeEach(async () => {
    folder = await temporaryFolder();
    path = join(folder.path, 'limits.sqlite');
  });
  afterEach(() => folder[Symbol.asyncDispose]());

  test('counts and leases survive a restart, and are shared with other processes', async () => {
    const one = openSqliteCountingStore(path, Date.now);
    const other = openSqliteCountingStore(path, Date.now);
    await addOne(one, 'a', 5);
    await one.acquire(lease('c', 'x', 'one'), { perClient: 1, total: 0 });
    assert.equal((await addOne(other, 'a', 1)).value, 6);
    assert.equal(await other.acquire(lease('c', 'y', 'two'), { perClient: 1, total: 0 }), 'client-full');
    one.close();
    other.close();
    const next = openSqliteCountingStore(path, Date.now);
    assert.equal((await addOne(next, 'a', 0)).value, 6);
    assert.equal(await next.active('c'), 1);
    next.close();
  });

  test('requests that arrive together share one write, and each gets its own count', async () => {
    const store = openSqliteCountingStore(path, Date.now);
    const { size: before } = await stat(`${path}-wal`);
    const counts = await Promise.all(Array.from({ length: 200 }, () => addOne(store, 'a', 1)));
    assert.deepEqual(
      counts.map(({ value }) => value),
      Array.from({ length: 200 }, (_, at) => at + 1),
    );
    // Each transaction writes a page or more to the log: https://www.sqlite.org/walformat.html
    assert.ok((await stat(`${path}-wal`)).size - before < 20 * 4096);
    store.close();
  });

  test('requests whose write fails are refused, and the next ones count', async () => {
    const store = openSqliteCountingStore(path, Date.now);
    const writer = new DatabaseSync(path);
    writer.exec('BEGIN IMMEDIATE');
    const outcomes = await Promise.allSettled([addOne(store, 'a', 1), addOne(store, 'b', 1)]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['rejected', 'rejected'],
    );
    writer.exec('ROLLBACK');
    writer.close();
    assert.equal((await addOne(store, 'a', 1)).value, 1);
    store.close();
  });

  test('nothing is lost where many write at once', async () => {
    openSqliteCountingStore(path, Date.now).close();
    const source = `
      const { parentPort, workerData } = require('node:worker_threads');
      import(workerData.module).then(async ({ openSqliteCountingStore }) => {
        const store = openSqliteCountingStore(workerData.path, Date.now);
        for (let i = 0; i < 500; i += 1) await store.add([{ counter: 'a', amount: 1, window: ${MINUTE} }]);
        store.close();
      });`;
    const module = import.meta.resolve('../../src/limits/sqlite-counting-store.ts');
    const workers = Array.from(
      { length: 4 },
      () => new Worker(source, { eval: true, workerData: { module, path } }),
    );
    await Promise.all(workers.map((worker) => once(worker, 'exit')));
    const store = openSqliteCountingStore(path, Date.now);
    assert.equal((await addOne(store, 'a', 0)).value, 2000);
    store.close();
  });

  test('expired rows are removed from the file, a few at a time', async () => {
    const clock = { now: Date.now() };
    const store = openSqliteCountingStore(path, () => clock.now);
    const many = (count: number) =>
      Array.from({ length: count }, (_, at) => ({ counter: `${at}`, amount: 1, window: MINUTE }));
    await store.add(many(2500));
    const reader = new DatabaseSync(path, { readOnly: true });
    const left = () => reader.prepare('SELECT count(*) AS count FROM counters').get()?.count;
    const seen = [left()];
    clock.now += MINUTE;
    for (let sweep = 0; sweep < 4; sweep += 1) {
      clock.now += 1000;
      await addOne(store, 'kept', 1);
      seen.push(left());
    }
    assert.deepEqual(seen, [2500, 1501, 501, 1, 1]);
    reader.close();
    store.close();
  });

  test('a clock that was set back delays no client', async () => {
    const ahead = openSqliteCountingStore(path, () => Date.now() + 365 * 24 * 60 * MINUTE);
    await addOne(ahead, 'a', 100);
    await ahead.acquire(lease('c', 'x', 'dead'), NO_LIMIT);
    ahead.close();
    const store = openSqliteCountingStore(path, Date.now);
    assert.deepEqual((await addOne(store, 'a', 0)).value, 0);
    assert.deepEqual((await addOne(store, 'a', 1)).value, 1);
    assert.equal(await store.acquire(lease('c', 'y'), { perClient: 1, total: 0 }), 'granted');
    store.close();
  });

  test('the file is for its user alone', async () => {
    const store = openSqliteCountingStore(path, Date.now);
    await addOne(store, 'a', 1);
    const files = await readdir(folder.path);
    assert.equal(files.length, 3, files.join());
    for (const file of files) assert.equal((await stat(join(folder.path, file))).mode & 0o777, 0o600, file);
    store.close();
  });

  test('a file that is broken is made again', async () => {
    for (const damage of [
      () => writeFile(path, 'no database at all '.repeat(1000)),
      // The header is right and the rest is damaged, as after a power failure.
      async () => writeFile(path, (await readFile(path)).fill(7, 5000, 9000)),
    ]) {
      await damage();
      const store = openSqliteCountingStore(path, Date.now);
      assert.equal((await addOne(store, 'a', 1)).value, 1);
      await store.add(
        Array.from({ length: 1000 }, (_, at) => ({ counter: `${at}`, amount: 1, window: MINUTE })),
      );
      store.close();
    }
  });
});

suite('counters in memory that are saved to a file', { timeout: 60_000 }, () => {
  /** The file, a store that counts its calls, and the saves that are due. */
  const open = async () => {
    const folder = await temporaryFolder();
    const path = join(folder.path, 'limits.sqlite');
    const clock = { now: Date.now() };
    const now = () => clock.now;
    const due: (() => void)[] = [];
    const state = { calls: 0 };
    const start = (isWorker = false): CountingStore => {
      const file = openSqliteCountingStore(path, now);
      const add: CountingStore['add'] = (additions) => {
        state.calls += 1;
        return file.add(additions);
      };
      return createBufferedCountingStore({
        ...{ store: { ...file, add }, now, isWorker, schedule: (save) => void due.push(save) },
      });
    };
    /** Reads the file as another process does. */
    const saved = async (counter: string): Promise<number> => {
      const reader = openSqliteCountingStore(path, now);
      const { value } = await addOne(reader, counter, 0);
      reader.close();
      return value;
    };
    const saveAll = async (): Promise<void> => {
      for (const save of due.splice(0)) save();
      // The store writes in the next turn of the event loop.
      await new Promise((resolve) => setImmediate(resolve));
    };
    const remove = () => folder[Symbol.asyncDispose]();
    return { path, clock, due, state, start, saved, saveAll, [Symbol.asyncDispose]: remove };
  };

  test('a thousand counts cost the first write and one more', async () => {
    await using file = await open();
    const store = file.start();
    for (let at = 1; at <= 1000; at += 1) assert.equal((await addOne(store, 'a', 1)).value, at);
    assert.equal(file.state.calls, 1);
    assert.equal(await file.saved('a'), 1);
    assert.equal(file.due.length, 1);
    await file.saveAll();
    assert.equal(file.state.calls, 2);
    assert.equal(await file.saved('a'), 1000);
    store.close();
  });

  test('counts survive a restart, and a killed process loses only what was not saved', async () => {
    await using file = await open();
    const killed = file.start();
    await addOne(killed, 'a', 1);
    await addOne(killed, 'a', 10);
    await file.saveAll();
    await addOne(killed, 'a', 100);
    file.clock.now += LEASE_MS;
    const stopped = file.start();
    assert.equal((await addOne(stopped, 'a', 0)).value, 11);
    assert.equal((await addOne(stopped, 'a', 1000)).value, 1011);
    stopped.close();
    const next = file.start();
    assert.equal((await addOne(next, 'a', 1)).value, 1012);
    next.close();
  });

  test('are written at once as soon as another process counts, and until it has gone', async () => {
    await using file = await open();
    const one = file.start();
    await addOne(one, 'a', 1);
    await addOne(one, 'a', 5);
    assert.equal(await file.saved('a'), 1);
    const other = file.start();
    file.clock.now += 100;
    assert.equal((await addOne(one, 'a', 1)).value, 7);
    assert.equal((await addOne(other, 'a', 1)).value, 8);
    assert.equal((await addOne(one, 'a', 1)).value, 9);
    assert.equal(await file.saved('a'), 9);
    other.close();
    file.clock.now += 100;
    await addOne(one, 'a', 1);
    assert.equal((await addOne(one, 'a', 1)).value, 11);
    assert.equal(await file.saved('a'), 10);
    one.close();
    assert.equal(await file.saved('a'), 11);
  });

  test('are written at once while one of several workers uses the file', async () => {
    await using file = await open();
    const one = file.start();
    await addOne(one, 'a', 1);
    const worker = file.start(true);
    file.clock.now += 100;
    await addOne(one, 'a', 1);
    assert.equal(await file.saved('a'), 2);
    await addOne(worker, 'a', 1);
    assert.equal((await addOne(one, 'a', 0)).value, 3);
    one.close();
    file.clock.now += 100;
    await addOne(worker, 'a', 1);
    await addOne(worker, 'a', 1);
    assert.equal(await file.saved('a'), 5, 'a worker that runs alone writes at once, too');
    worker.close();
  });

  test('a failed save is thrown once, by the next count', async () => {
    await using file = await open();
    const store = file.start();
    await addOne(store, 'a', 1);
    await addOne(store, 'a', 1);
    const writer = new DatabaseSync(file.path);
    writer.exec('BEGIN IMMEDIATE');
    await file.saveAll();
    writer.exec('ROLLBACK');
    writer.close();
    await assert.rejects(addOne(store, 'a', 1), /locked/);
    store.close();
  });

  test('a count that is not saved when its window ends does not count in the next', async () => {
    await using file = await open();
    const store = file.start();
    await addOne(store, 'a', 1);
    await addOne(store, 'a', 50);
    file.clock.now += MINUTE;
    assert.equal((await addOne(store, 'a', 1)).value, 1);
    await file.saveAll();
    assert.equal(await file.saved('a'), 1);
    store.close();
  });

  test('concurrent first counts of a window are each counted once', async () => {
    await using file = await open();
    const store = file.start();
    const counts = await Promise.all(Array.from({ length: 50 }, () => addOne(store, 'a', 1)));
    assert.deepEqual(
      counts.map(({ value }) => value),
      Array.from({ length: 50 }, (_, at) => at + 1),
    );
    assert.equal((await addOne(store, 'a', 1)).value, 51);
    await file.saveAll();
    assert.equal(await file.saved('a'), 51);
    store.close();
  });

  test('only a limited number stays in memory, and no count is lost', async () => {
    await using file = await open();
    const store = file.start();
    await addOne(store, 'a', 1);
    await addOne(store, 'a', 5);
    const many = Array.from({ length: 10_001 }, (_, at) => ({ counter: `${at}`, amount: 1, window: MINUTE }));
    await store.add(many);
    file.clock.now += 100;
    const { calls } = file.state;
    assert.equal((await addOne(store, 'a', 1)).value, 7);
    assert.equal(file.state.calls, calls + 2, 'the counter was saved and read again');
    store.close();
    assert.equal(await file.saved('a'), 7);
  });
});

suite('state shared by replicas in Redis', { skip: skipUnless('redis-server'), timeout: 600_000 }, () => {
  test('counts and leases are the same for all of them, by one clock, and go in time', async () => {
    await using stack = new AsyncDisposableStack();
    const server = stack.use(await startRedis());
    const [one, other] = await Promise.all(
      [1, 2].map(async () =>
        createRedisCountingStore(stack.adopt(await connectTo(server), (redis) => redis.close())),
      ),
    );
    assert.ok(one && other);
    await Promise.all(Array.from({ length: 100 }, (_, at) => addOne(at % 2 ? one : other, 'a', 1)));
    const { value, resetsIn } = await addOne(one, 'a', 0);
    assert.equal(value, 100);
    assert.ok(resetsIn <= MINUTE && resetsIn > MINUTE / 2, `${resetsIn}`);
    const limits = { perClient: 3, total: 0 };
    const asked = Array.from({ length: 12 }, (_, at) =>
      (at % 2 ? one : other).acquire(lease('c', `archive ${at}`, `${at % 2}`), limits),
    );
    const granted = (await Promise.all(asked)).filter((answer) => answer === 'granted');
    assert.equal(granted.length, 3);
    assert.equal(await other.active('c'), 3);
    await addOne(one, 'brief', 1, 50);
    await waitFor(async () => (await server.cli('--scan', '--pattern', '*brief')) === '');
    const lasting = (await server.cli('--scan')).split('\n');
    for (const key of lasting) assert.ok(Number(await server.cli('pttl', key)) > 0, `${key} stays`);
  });
});

suite('a store that fails', () => {
  /** A store that the test can break, with a fallback. */
  const startFallback = (isBroken = false) => {
    const state = { isBroken, opened: 0, closed: 0, calls: 0, now: 0, told: [] as string[] };
    const open = (): CountingStore => {
      state.opened += 1;
      if (state.isBroken) throw new Error('disk full');
      return {
        ...createMemoryCountingStore(Date.now),
        async add(additions) {
          state.calls += 1;
          if (state.isBroken) throw new Error('disk full');
          return additions.map(() => ({ value: 99, resetsIn: 1 }));
        },
        close: () => {
          state.closed += 1;
        },
      };
    };
    const store = createFallbackCountingStore({
      open,
      substitute: createMemoryCountingStore(Date.now),
      onFailure: ({ message }) => state.told.push(message),
      now: () => state.now,
    });
    return { state, next: async () => (await addOne(store, 'a', 1)).value };
  };

  test('has a replacement, is left alone for a while and opened again, and is logged once until it works', async () => {
    const { state, next } = startFallback();
    assert.equal(await next(), 99);
    state.isBroken = true;
    assert.deepEqual([await next(), await next(), await next()], [1, 2, 3]);
    assert.deepEqual([state.calls, state.opened, state.closed], [2, 1, 1]);
    state.now += 5000;
    assert.equal(await next(), 4);
    assert.deepEqual([state.opened, state.closed], [2, 1]);
    state.isBroken = false;
    assert.equal(await next(), 5);
    state.now += 5000;
    assert.equal(await next(), 99);
    assert.deepEqual(state.told, ['disk full']);
    state.isBroken = true;
    assert.equal(await next(), 6);
    assert.deepEqual(state.told, ['disk full', 'disk full']);
  });

  test('receives the counts, leases and releases of the meantime', async () => {
    const clock = { now: Date.now() };
    const real = createMemoryCountingStore(() => clock.now);
    let isBroken = false;
    const told: string[] = [];
    const whenWhole =
      <A extends unknown[], T>(call: (...args: A) => Promise<T>) =>
      async (...args: A): Promise<T> => {
        if (isBroken) throw new Error('away');
        return call(...args);
      };
    const { add, acquire, renew, release, active } = real;
    const store = createFallbackCountingStore({
      open: () => ({
        ...{ add: whenWhole(add), acquire: whenWhole(acquire), renew: whenWhole(renew) },
        ...{ release: whenWhole(release), active: whenWhole(active), close() {} },
      }),
      substitute: createMemoryCountingStore(() => clock.now),
      onFailure: () => told.push('away'),
      onReturn: () => told.push('back'),
      now: () => clock.now,
    });
    const limits = { perClient: 2, total: 0 };
    await addOne(store, 'bytes', 1000, 24 * 60 * MINUTE);
    await store.acquire(lease('c', 'first'), limits);
    await store.acquire(lease('c', 'second'), limits);

    isBroken = true;
    await addOne(store, 'bytes', 10, 24 * 60 * MINUTE);
    await addOne(store, 'requests', 5);
    await store.release(lease('c', 'second'));
    assert.equal(await store.acquire(lease('c', 'third'), limits), 'granted');
    assert.equal(await store.acquire(lease('c', 'fourth'), limits), 'client-full', 'what was held counts');
    clock.now += 5000;
    await addOne(store, 'bytes', 1, 24 * 60 * MINUTE);

    isBroken = false;
    await store.catchUp();
    assert.deepEqual(told, ['away', 'back']);
    assert.equal((await addOne(real, 'bytes', 0, 24 * 60 * MINUTE)).value, 1011);
    assert.equal((await addOne(real, 'requests', 0)).value, 5);
    assert.equal(await real.acquire(lease('c', 'fifth', 'another'), limits), 'client-full');
    await store.release(lease('c', 'first'));
    await store.release(lease('c', 'third'));
    assert.equal(await real.active('c'), 0);

    isBroken = true;
    await addOne(store, 'requests', 7);
    clock.now += MINUTE;
    isBroken = false;
    await store.catchUp();
    assert.equal((await addOne(real, 'requests', 0)).value, 0, 'a window that is over stays over');
  });

  test('at once is stood in for at once', async () => {
    const { state, next } = startFallback(true);
    assert.deepEqual(state.told, ['disk full']);
    assert.equal(await next(), 1);
    assert.equal(state.opened, 1);
  });

  test('is an error at once if the folder is missing or the file is not writable', () => {
    assert.throws(() => openSqliteCountingStore('/no/such/folder/limits.sqlite', Date.now), /ENOENT/);
  });
});

suite('the memory of the memory store', () => {
  test('is bounded: the oldest counters are forgotten, not the service', async () => {
    const store = createMemoryCountingStore(Date.now);
    await addOne(store, 'first', 1);
    const many = Array.from({ length: 150_000 }, (_, at) => ({
      counter: `${at}`,
      amount: 1,
      window: MINUTE,
    }));
    await store.add(many);
    assert.equal((await addOne(store, 'first', 0)).value, 0);
    assert.equal((await addOne(store, '149999', 0)).value, 1);
  });
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { ServiceError } from '../../src/errors.ts';
import {
  type ArchivePart,
  type ByteQuota,
  createByteQuota,
  type Meter,
} from '../../src/limits/byte-quota.ts';
import { createMemoryCountingStore } from '../../src/limits/memory-counting-store.ts';

const DAY = 86_400_000;
const LIMIT = 1000;

function start(limit = LIMIT) {
  const clock = { now: Date.now() };
  const store = createMemoryCountingStore(() => clock.now);
  return { clock, store, quota: createByteQuota(store, limit) };
}

function whole(etag: string, size: number): ArchivePart {
  return { etag, size, start: 0, length: size };
}

function rest(etag: string, size: number, start: number): ArchivePart {
  return { etag, size, start, length: size - start };
}

/** Sends a number of bytes of a part, then closes the connection. */
async function send(quota: ByteQuota, part: ArchivePart, bytes = part.length): Promise<void> {
  const meter = await quota.admit('c', part);
  meter.sent(bytes);
  meter.end();
}

/** Sends a part a few bytes at a time until it is refused. Returns the number of sent bytes. */
async function sendWhatIsLet(quota: ByteQuota, part: ArchivePart): Promise<number> {
  const meter = await isLetThrough(quota, part);
  let sent = 0;
  try {
    for (; meter !== undefined && sent < part.length; sent += 1) meter.sent(1);
  } catch (error) {
    assert.ok(error instanceof ServiceError && error.code === 'daily-bytes-used', String(error));
  }
  meter?.end();
  return sent;
}

async function isLetThrough(quota: ByteQuota, part: ArchivePart, client = 'c'): Promise<Meter | undefined> {
  try {
    return await quota.admit(client, part);
  } catch (error) {
    assert.ok(error instanceof ServiceError && error.code === 'daily-bytes-used', String(error));
    return undefined;
  }
}

suite('bytes a day', () => {
  test('count as they are sent, not as they are asked for', async () => {
    const { quota } = start();
    await send(quota, whole('a', 900), 10);
    assert.equal((await quota.read('c')).value, 10);
    const meter = await quota.admit('c', whole('a', 900));
    meter.sent(5);
    assert.equal((await quota.read('c')).value, 15);
    meter.end();
    assert.equal((await quota.read('c')).value, 15);
    assert.equal((await quota.read('other')).value, 0);
  });

  test('count once for an archive if they are both fetched for the client and sent', async () => {
    const { quota } = start();
    const first = await quota.admit('c', whole('a', 900));
    first.fetched(300);
    first.sent(100);
    assert.equal((await quota.read('c')).value, 300);
    first.end();
    assert.equal((await quota.read('c')).value, 300, 'what it did not take was fetched all the same');
    await send(quota, rest('a', 900, 100), 200);
    assert.equal((await quota.read('c')).value, 300, 'it takes what was fetched before');
    const last = await quota.admit('c', rest('a', 900, 300));
    last.fetched(500);
    last.sent(600);
    last.end();
    assert.equal((await quota.read('c')).value, 900);
    await send(quota, whole('b', 50), 50);
    assert.equal((await quota.read('c')).value, 950, 'another archive has an account of its own');
  });

  test('count if they are only fetched for a client', async () => {
    const { quota } = start();
    const meter = await quota.admit('c', whole('a', 2000));
    meter.fetched(1500);
    assert.equal(await isLetThrough(quota, whole('b', 10)), undefined);
    meter.end();
    assert.equal(await isLetThrough(quota, whole('b', 10)), undefined);
    assert.notEqual(await isLetThrough(quota, whole('b', 10), 'other'), undefined);
  });

  test('in flight count once if they are already fetched', async () => {
    const { quota } = start();
    const meter = await quota.admit('c', whole('a', 900));
    meter.fetched(900);
    assert.notEqual(await isLetThrough(quota, whole('b', 10)), undefined);
    meter.end();
  });

  test('once they are used up, nothing is begun until the day is over', async () => {
    const { quota, clock } = start();
    await send(quota, whole('a', LIMIT));
    assert.equal(await isLetThrough(quota, whole('b', 1)), undefined);
    assert.ok(await isLetThrough(quota, whole('b', 1), 'other'));
    clock.now += DAY - 1;
    await assert.rejects(quota.admit('c', whole('b', 1)), (error: ServiceError) => {
      assert.equal(error.status, 429);
      assert.equal(error.retryAfter, 1);
      assert.match(error.message, /1000 B per day \(DAILY_BYTES\).* in 1 s/);
      return true;
    });
    clock.now += 1;
    assert.ok(await isLetThrough(quota, whole('b', 1)));
  });

  test('with one left, the largest archive can start', async () => {
    const { quota } = start();
    await send(quota, whole('a', LIMIT - 1));
    assert.ok(await isLetThrough(quota, whole('b', 100 * LIMIT)));
  });

  test('an archive that was begun is continued though none are left, however often it breaks', async () => {
    const { quota } = start();
    await send(quota, whole('big', 5 * LIMIT), 2 * LIMIT);
    for (let at = 2 * LIMIT; at < 5 * LIMIT; at += 300) await send(quota, rest('big', 5 * LIMIT, at), 300);
    assert.equal(await isLetThrough(quota, rest('never begun', 5 * LIMIT, 1)), undefined);
  });

  test('a client that first requests the whole file, like aria2c, also continues it', async () => {
    const { quota } = start();
    await send(quota, whole('big', 2 * LIMIT), LIMIT);
    const first = await quota.admit('c', whole('big', 2 * LIMIT));
    const parts = Array.from({ length: 7 }, (_, at) => ({
      ...whole('big', 2 * LIMIT),
      start: LIMIT + at * 125,
      length: 125,
    }));
    for (const part of parts) await send(quota, part);
    first.end();
    for (const part of parts) assert.ok(await isLetThrough(quota, part), 'what was lost is sent again');
  });

  test('several connections to one archive are one download, though it is larger than what is left', async () => {
    for (const size of [3 * LIMIT, 100 * LIMIT]) {
      const { quota } = start();
      const first = await quota.admit('c', whole('big', size));
      const meters = [first];
      for (let at = 1; at < 8; at += 1)
        meters.push(
          await quota.admit('c', { ...whole('big', size), start: (at * size) / 8, length: size / 8 }),
        );
      assert.equal(await isLetThrough(quota, whole('other', 1)), undefined);
      for (const meter of meters) meter.sent(size / 8);
      // aria2c leaves the first one where the next range begins.
      for (const meter of meters) meter.end();
      assert.equal((await quota.read('c')).value, size);
    }
  });

  test('connections that each send the same archive send at most twice the limit and the archive', async () => {
    const { quota } = start();
    const size = 3 * LIMIT;
    const meters = await Promise.all(Array.from({ length: 8 }, () => quota.admit('c', whole('big', size))));
    let sent = 0;
    for (const meter of meters) {
      try {
        for (let at = 0; at < size; at += 10, sent += 10) meter.sent(10);
      } catch (error) {
        assert.ok(error instanceof ServiceError && error.code === 'daily-bytes-used', String(error));
      }
    }
    assert.equal(sent, 2 * (LIMIT + size));
  });

  test('it is also continued after another archive was fetched ahead', async () => {
    const { quota } = start();
    const size = 3 * LIMIT;
    for (const [etag, fetched] of [
      ['one', 0.9 * LIMIT],
      ['other', size],
    ] as const) {
      const meter = await quota.admit('c', whole(etag, size));
      meter.sent(1);
      meter.fetched(fetched);
      meter.end();
    }
    for (const start of [0, LIMIT, 2 * LIMIT])
      assert.ok(await isLetThrough(quota, { ...whole('one', size), start, length: LIMIT }), `${start}`);
  });

  test('it is also continued over several connections at once', async () => {
    const { quota } = start();
    await send(quota, whole('big', 2 * LIMIT), LIMIT);
    const parts = Array.from({ length: 8 }, (_, at) => ({
      ...whole('big', 2 * LIMIT),
      start: LIMIT + at * 125,
      length: 125,
    }));
    const meters = await Promise.all(parts.map((part) => isLetThrough(quota, part)));
    assert.equal(meters.filter(Boolean).length, 8);
  });

  test('it is also continued on the next day, whose bytes are used up again', async () => {
    const { quota, clock } = start();
    await send(quota, whole('big', 2 * LIMIT), 10);
    clock.now += DAY + 1;
    await send(quota, whole('other', LIMIT));
    assert.equal(await isLetThrough(quota, whole('third', 1)), undefined);
    assert.ok(await isLetThrough(quota, rest('big', 2 * LIMIT, 10)));
  });

  test('it is also continued after a restart', async () => {
    const { quota, store } = start();
    await send(quota, whole('big', 2 * LIMIT), LIMIT + 1);
    await quota.close();
    const next = createByteQuota(store, LIMIT);
    assert.ok(await isLetThrough(next, rest('big', 2 * LIMIT, LIMIT + 1)));
    assert.equal(await isLetThrough(next, whole('b', 1)), undefined);
  });

  test('pass the limit of a client by at most one archive, even for concurrent requests', async () => {
    const { quota } = start();
    const meters = await Promise.all(
      Array.from({ length: 100 }, (_, at) => isLetThrough(quota, whole(`${at}`, 300))),
    );
    // The fourth begins while a hundred are left.
    assert.equal(meters.filter(Boolean).length, 4);
    for (const meter of meters) meter?.end();
    assert.ok(await isLetThrough(quota, whole('a', 300)), 'what was not sent is free again');
  });

  test('that a connection did not send are free as soon as it ends, although others continue', async () => {
    const { quota } = start();
    const one = await quota.admit('c', whole('a', 600));
    const other = await quota.admit('c', whole('b', 600));
    assert.equal(await isLetThrough(quota, whole('d', 1)), undefined);
    one.sent(10);
    one.end();
    assert.ok(await isLetThrough(quota, whole('d', 1)));
    other.end();
  });

  test('asked for again and again, give no more than twice an archive', async () => {
    for (const again of [rest('a', LIMIT, 1), whole('a', LIMIT)]) {
      const { quota } = start();
      await send(quota, whole('a', LIMIT));
      let sent = LIMIT;
      for (let times = 0; times < 5; times += 1) sent += await sendWhatIsLet(quota, again);
      assert.equal(sent, 2 * LIMIT);
    }
  });

  test('a thousand archives that were begun send at most the limit once more, and two of them', async () => {
    const { quota } = start();
    for (let at = 0; at < 900; at += 1) await send(quota, whole(`${at}`, 200), 1);
    await send(quota, whole('last', 100));
    assert.equal((await quota.read('c')).value, LIMIT);
    let sent = LIMIT;
    for (let at = 0; at < 900; at += 1) sent += await sendWhatIsLet(quota, rest(`${at}`, 200, 1));
    assert.ok(sent > 1.5 * LIMIT && sent <= 2 * (LIMIT + 200), `${sent}`);
  });

  test('with an unknown total count, too', async () => {
    const { quota } = start();
    await send(quota, { etag: undefined, size: 0, start: 0, length: 0 }, LIMIT);
    assert.equal((await quota.read('c')).value, LIMIT);
    assert.equal(await isLetThrough(quota, { etag: undefined, size: 0, start: 0, length: 0 }), undefined);
  });

  test('are saved while a download goes on, without a look at the store for each chunk', async (context) => {
    context.mock.timers.enable({ apis: ['setInterval'] });
    const { store } = start();
    let saved = 0;
    const quota = createByteQuota(
      {
        ...store,
        add: (additions) => {
          if (additions.some(({ amount }) => amount > 0)) saved += 1;
          return store.add(additions);
        },
      },
      2 ** 40,
    );
    const meter = await quota.admit('c', whole('a', 2 ** 30));
    for (let chunk = 0; chunk < 1023; chunk += 1) meter.sent(2 ** 16);
    assert.equal(saved, 0);
    meter.sent(2 ** 16);
    assert.equal(saved, 1);
    meter.sent(1);
    context.mock.timers.tick(5000);
    assert.equal(saved, 2);
    meter.end();
    assert.equal(saved, 2, 'nothing is left to save');
  });

  test('count as sent, whatever connections do', async () => {
    const step = fc.record({
      archive: fc.nat(3),
      sends: fc.array(fc.nat(400), { maxLength: 4 }),
      ends: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
        const { quota } = start(1_000_000);
        let sent = 0;
        const open: Meter[] = [];
        for (const { archive, sends, ends } of steps) {
          const meter = await quota.admit('c', whole(`${archive}`, 500));
          for (const bytes of sends) meter.sent(bytes);
          sent += sends.reduce((sum, bytes) => sum + bytes, 0);
          if (ends) meter.end();
          else open.push(meter);
          assert.equal((await quota.read('c')).value, sent);
        }
        for (const meter of open) meter.end();
        assert.equal((await quota.read('c')).value, sent);
      }),
    );
  });
});

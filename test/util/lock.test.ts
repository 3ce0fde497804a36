import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createFolderLocks } from '../../src/blobs/folder-locks.ts';
import { redisUrl } from '../../src/config/redis-url.ts';
import { connectRedis } from '../../src/redis/connect.ts';
import { createRedisLocks } from '../../src/redis/redis-locks.ts';
import type { Locks } from '../../src/util/lock.ts';
import { skipUnless } from '../support/packages.ts';
import { startRedis } from '../support/redis.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const always = new AbortController().signal;
const uptime = (): number => performance.now();
/** A clock that advances by a second with each reading. */
const quickClock = (): (() => number) => {
  let seconds = 0;
  return () => 1000 * seconds++;
};

interface Fixture extends AsyncDisposable {
  /** Two sets of locks, as in two processes. */
  one: Locks;
  other: Locks;
  /** The locks of a process with a fast clock. */
  hurried: Locks;
}

const kinds: Record<string, () => Promise<Fixture>> = {
  async files() {
    const folder = await temporaryFolder();
    return {
      one: createFolderLocks(folder.path, uptime),
      other: createFolderLocks(folder.path, uptime),
      hurried: createFolderLocks(folder.path, quickClock()),
      [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
    };
  },
  async Redis() {
    const stack = new AsyncDisposableStack();
    const { url } = stack.use(await startRedis());
    const connect = async (now: () => number): Promise<Locks> => {
      const redis = await connectRedis(redisUrl.parse(url), { lost() {}, returned() {} });
      return createRedisLocks(
        stack.adopt(redis, (held) => held.close()),
        now,
      );
    };
    return {
      one: await connect(uptime),
      other: await connect(uptime),
      hurried: await connect(quickClock()),
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  },
};

for (const [kind, open] of Object.entries(kinds)) {
  const skip = kind === 'Redis' && skipUnless('redis-server');
  suite(`locks by ${kind}`, { skip, timeout: 60_000 }, () => {
    test('have one owner for each name', async () => {
      await using fixture = await open();
      const { one, other } = fixture;
      const held = await one.take('a');
      assert.ok(held !== undefined);
      assert.equal(await other.take('a'), undefined);
      const another = await other.take('b');
      assert.ok(another !== undefined);
      held[Symbol.dispose]();
      await waitFor(async () => (await other.take('a')) !== undefined, { what: 'the lock to be free' });
      another[Symbol.dispose]();
    });

    test('let callers wait', async () => {
      await using fixture = await open();
      const { one, other } = fixture;
      let busy = 0;
      let most = 0;
      const work = async (locks: Locks): Promise<void> => {
        using _lock = await locks.wait('a', always);
        busy += 1;
        most = Math.max(most, busy);
        await new Promise((resolve) => setImmediate(resolve));
        busy -= 1;
      };
      await Promise.all(Array.from({ length: 10 }, (_, at) => work(at % 2 ? one : other)));
      assert.equal(most, 1);
    });

    test('stop the wait of an aborted caller', async () => {
      await using fixture = await open();
      using _held = await fixture.one.take('a');
      const leaving = new AbortController();
      const waiting = fixture.other.wait('a', leaving.signal);
      leaving.abort();
      await assert.rejects(waiting, { name: 'AbortError' });
    });

    test('let every caller do the work after a timeout', async () => {
      await using fixture = await open();
      using _held = await fixture.one.take('a');
      using _late = await fixture.hurried.wait('a', always);
      assert.equal(await fixture.other.take('a'), undefined, 'the first one still has the lock');
    });
  });
}

test('if the store of locks fails, every caller does the work', async () => {
  const locks = createFolderLocks(import.meta.filename, uptime);
  await assert.rejects(locks.take('a'));
  using _late = await locks.wait('a', always);
});

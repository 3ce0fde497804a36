import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createFolderLocks } from '../../src/blobs/folder-locks.ts';
import { redisUrl } from '../../src/config/redis-url.ts';
import { connectRedis } from '../../src/redis/connect.ts';
import { createRedisLocks } from '../../src/redis/redis-locks.ts';
import type { Locks } from '../../src/util/lock.ts';
import { skipUnless } from '../support/packages.ts';
import { temporaryFolder, waitFor } from '../support/process.ts';
import { startRedis } from '../support/redis.ts';

const always = new AbortController().signal;
const uptime = (): number => performance.now();
/** A clock that advances by a second with each reading. */
const quickClock = (): (() => number) => {
  let seconds = 0;
  return () => 1000 * seconds++;
};

interface Fixture extends AsyncDisposable {
  /** As two processes have them. */
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
  suite(`turns by ${kind}`, { skip, timeout: 60_000 }, () => {
    test('are one at a time for a name, and for another name another one', async () => {
      await using fixture = await open();
      const { one, other } = fixture;
      const end = await one.take('a');
      assert.ok(end !== undefined);
      assert.equal(await other.take('a'), undefined);
      const another = await other.take('b');
      assert.ok(another !== undefined);
      end();
      await waitFor(async () => (await other.take('a')) !== undefined, { what: 'the turn to be free' });
      another();
    });

    test('are waited for, by all who want one', async () => {
      await using fixture = await open();
      const { one, other } = fixture;
      let busy = 0;
      let most = 0;
      const work = async (turns: Locks): Promise<void> => {
        const end = await turns.wait('a', always);
        busy += 1;
        most = Math.max(most, busy);
        await new Promise((resolve) => setImmediate(resolve));
        busy -= 1;
        end();
      };
      await Promise.all(Array.from({ length: 10 }, (_, at) => work(at % 2 ? one : other)));
      assert.equal(most, 1);
    });

    test('are not waited for by who leaves', async () => {
      await using fixture = await open();
      const end = await fixture.one.take('a');
      const leaving = new AbortController();
      const waiting = fixture.other.wait('a', leaving.signal);
      leaving.abort();
      await assert.rejects(waiting, { name: 'AbortError' });
      end?.();
    });

    test('are not waited for without end: then everyone does the work', async () => {
      await using fixture = await open();
      const end = await fixture.one.take('a');
      (await fixture.hurried.wait('a', always))();
      assert.equal(await fixture.other.take('a'), undefined, 'it still is the turn of the first one');
      end?.();
    });
  });
}

test('if nobody can tell whose turn it is, everyone does the work', async () => {
  const turns = createFolderLocks(import.meta.filename, uptime);
  await assert.rejects(turns.take('a'));
  (await turns.wait('a', always))();
});

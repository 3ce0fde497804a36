import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createQueue } from '../../../src/sources/engine/queue.ts';

const never = new AbortController().signal;

/** Returns work that records its start, and ends when the test ends it. */
function work() {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const state = {
    begun: false,
    end: resolve,
    fail: reject,
    run: (): Promise<void> => {
      state.begun = true;
      return promise;
    },
  };
  return state;
}

/** Waits until all pending microtasks have run. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

suite('the queue of pulls', () => {
  test('a few run at once, the others in their order', async () => {
    const queue = createQueue({ atOnce: 2, length: 5 });
    const jobs = [work(), work(), work(), work()];
    const ahead: number[][] = jobs.map(() => []);
    const done = jobs.map((job, at) => queue.run(job.run, (count) => ahead[at]?.push(count), never));
    await settle();
    assert.deepEqual(
      jobs.map(({ begun }) => begun),
      [true, true, false, false],
    );
    jobs[1]?.end();
    await settle();
    assert.deepEqual(
      jobs.map(({ begun }) => begun),
      [true, true, true, false],
    );
    jobs[0]?.fail(new Error('broken'));
    await assert.rejects(done[0] ?? Promise.resolve(), /broken/);
    await settle();
    assert.deepEqual(
      jobs.map(({ begun }) => begun),
      [true, true, true, true],
    );
    jobs[2]?.end();
    jobs[3]?.end();
    await Promise.all(done.slice(1));
    assert.deepEqual(ahead, [[], [], [1], [2, 1]]);
  });

  test('past its length it refuses, and says when to come again', async () => {
    const queue = createQueue({ atOnce: 1, length: 1 });
    const [first, second, third] = [work(), work(), work()];
    const running = queue.run(first.run, () => {}, never);
    const waiting = queue.run(second.run, () => {}, never);
    await assert.rejects(
      queue.run(third.run, () => {}, never),
      { code: 'engine-busy', status: 503, retryAfter: 60 },
    );
    first.end();
    second.end();
    await Promise.all([running, waiting]);
    third.end();
    await queue.run(third.run, () => {}, never);
  });

  test('an aborted wait frees its place, and the others move up', async () => {
    const queue = createQueue({ atOnce: 1, length: 2 });
    const [first, second, third] = [work(), work(), work()];
    const gone = new AbortController();
    const seen: number[] = [];
    const running = queue.run(first.run, () => {}, never);
    const left = queue.run(second.run, () => {}, gone.signal);
    const waiting = queue.run(third.run, (count) => seen.push(count), never);
    gone.abort();
    await assert.rejects(left, { name: 'AbortError' });
    assert.deepEqual(seen, [2, 1]);
    first.end();
    third.end();
    await Promise.all([running, waiting]);
    assert.equal(second.begun, false);
  });
});

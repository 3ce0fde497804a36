import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createSingleFlight } from '../../src/util/single-flight.ts';

const always = new AbortController().signal;

/** Returns work that ends when the test ends it. */
function work() {
  const begun: { signal: AbortSignal; result: PromiseWithResolvers<string> }[] = [];
  return {
    begun,
    run: (signal: AbortSignal): Promise<string> => {
      const result = Promise.withResolvers<string>();
      begun.push({ signal, result });
      return result.promise;
    },
  };
}

suite('work that is shared', () => {
  test('is done once for all who want the same at the same time', async () => {
    const share = createSingleFlight<string>();
    const { begun, run } = work();
    const all = Promise.all([1, 2, 3].map(() => share('a', run, always)));
    const other = share('b', run, always);
    assert.equal(begun.length, 2);
    begun[0]?.result.resolve('A');
    begun[1]?.result.resolve('B');
    assert.deepEqual(await all, ['A', 'A', 'A']);
    assert.equal(await other, 'B');
  });

  test('runs again for a later caller', async () => {
    const share = createSingleFlight<string>();
    let times = 0;
    const run = async () => `${++times}`;
    assert.equal(await share('a', run, always), '1');
    assert.equal(await share('a', run, always), '2');
  });

  test('fails for all, and the next try is a new one', async () => {
    const share = createSingleFlight<string>();
    const { begun, run } = work();
    const all = Promise.allSettled([1, 2].map(() => share('a', run, always)));
    begun[0]?.result.reject(new Error('broken'));
    assert.deepEqual(
      (await all).map(({ status }) => status),
      ['rejected', 'rejected'],
    );
    const next = share('a', run, always);
    begun[1]?.result.resolve('A');
    assert.equal(await next, 'A');
  });

  test('starts again for the other callers if only the first one may not continue', async () => {
    const refusal = new Error('The first caller is over its limit');
    const share = createSingleFlight<string>((error) => error === refusal);
    const { begun, run } = work();
    const all = Promise.allSettled([1, 2, 3].map(() => share('a', run, always)));
    begun[0]?.result.reject(refusal);
    while (begun.length < 2) await turn();
    begun[1]?.result.resolve('A');
    const [first, ...others] = await all;
    assert.deepEqual(first, { status: 'rejected', reason: refusal });
    assert.deepEqual(others, Array(2).fill({ status: 'fulfilled', value: 'A' }));
    assert.equal(begun.length, 2);
  });

  test('goes on when one of several leaves, who hears of it at once', async () => {
    const share = createSingleFlight<string>();
    const { begun, run } = work();
    const leaving = new AbortController();
    const left = share('a', run, leaving.signal);
    const staying = share('a', run, always);
    leaving.abort(new Error('left'));
    await assert.rejects(left, /left/);
    assert.equal(begun[0]?.signal.aborted, false);
    begun[0]?.result.resolve('A');
    assert.equal(await staying, 'A');
  });

  test('is aborted when the last caller leaves, and a new caller starts it again', async () => {
    const share = createSingleFlight<string>();
    const { begun, run } = work();
    const leaving = new AbortController();
    const left = Promise.allSettled([1, 2].map(() => share('a', run, leaving.signal)));
    leaving.abort(new Error('left'));
    // A caller joins in the same tick, before the result is delivered.
    const joined = share('a', run, always);
    await left;
    await turn();
    if (begun.length === 1) assert.equal(begun[0]?.signal.aborted, false, 'it has joined what goes on');
    else assert.equal(begun[0]?.signal.aborted, true);
    begun.at(-1)?.result.resolve('A');
    assert.equal(await joined, 'A');
    const later = share('a', run, always);
    begun.at(-1)?.result.resolve('B');
    assert.equal(await later, 'B');
  });

  test('that all have left is not joined, though it has not ended yet', async () => {
    const share = createSingleFlight<string>();
    const { begun, run } = work();
    const leaving = new AbortController();
    const left = share('a', run, leaving.signal);
    leaving.abort(new Error('left'));
    await assert.rejects(left, /left/);
    const next = share('a', run, always);
    assert.equal(begun.length, 2);
    begun[1]?.result.resolve('A');
    assert.equal(await next, 'A');
    begun[0]?.result.reject(new Error('nobody hears this'));
  });

  test('is not waited for by one who has left before', async () => {
    const share = createSingleFlight<string>();
    const { begun, run } = work();
    await assert.rejects(share('a', run, AbortSignal.abort(new Error('left'))), /left/);
    assert.ok(begun.every(({ signal }) => signal.aborted));
    const next = share('a', run, always);
    begun.at(-1)?.result.resolve('A');
    assert.equal(await next, 'A');
  });

  test('a failure after all callers have left is ignored', async () => {
    const share = createSingleFlight<string>();
    const { begun, run } = work();
    const leaving = new AbortController();
    const left = share('a', run, leaving.signal);
    leaving.abort(new Error('left'));
    await assert.rejects(left, /left/);
    assert.equal(begun[0]?.signal.aborted, true);
    begun[0]?.result.reject(new Error('nobody hears this'));
    await turn();
  });
});

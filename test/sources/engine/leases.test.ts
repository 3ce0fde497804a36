import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createLeases } from '../../../src/sources/engine/leases.ts';

const never = new AbortController().signal;
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

suite('leases of names', () => {
  test('are shared for one purpose, and another purpose waits until all are released', async () => {
    const leases = createLeases();
    const first = await leases.take('a', 'amd64', never);
    const second = await leases.take('a', 'amd64', never);
    let hasOther = false;
    const other = leases.take('a', 'arm64', never).then((release) => {
      hasOther = true;
      return release;
    });
    // Leases are granted in order, so a later request waits for an earlier one.
    const late = leases.take('a', 'amd64', never);
    await leases.take('b', 'arm64', never);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    await settle();
    assert.equal(hasOther, false);
    second[Symbol.dispose]();
    (await other)[Symbol.dispose]();
    (await late)[Symbol.dispose]();
    assert.ok(leases.tryTake('a'));
  });

  test('an aborted wait delays no other', async () => {
    const leases = createLeases();
    const held = await leases.take('a', 'amd64', never);
    const gone = new AbortController();
    const waiting = leases.take('a', 'arm64', gone.signal);
    gone.abort();
    await assert.rejects(waiting, { name: 'AbortError' });
    held[Symbol.dispose]();
    assert.ok(leases.tryTake('a'));
  });

  test('a name in use is not removed, and a name under removal is not used', async () => {
    const leases = createLeases();
    const held = await leases.take('a', 'amd64', never);
    assert.equal(leases.tryTake('a'), undefined);
    held[Symbol.dispose]();
    const removal = leases.tryTake('a');
    let isTaken = false;
    const waiting = leases.take('a', 'amd64', never).then(() => {
      isTaken = true;
    });
    await settle();
    assert.equal(isTaken, false);
    removal?.[Symbol.dispose]();
    await waiting;
  });
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createLeases } from '../../../src/sources/engine/leases.ts';

const never = new AbortController().signal;
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

suite('leases of names', () => {
  test('are shared for one purpose; another one waits until all have given back', async () => {
    const leases = createLeases();
    const first = await leases.take('a', 'amd64', never);
    const second = await leases.take('a', 'amd64', never);
    let hasOther = false;
    const other = leases.take('a', 'arm64', never).then((release) => {
      hasOther = true;
      return release;
    });
    // In turn: who comes later does not pass by who waits.
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

  test('who goes while waiting holds nobody up', async () => {
    const leases = createLeases();
    const held = await leases.take('a', 'amd64', never);
    const gone = new AbortController();
    const waiting = leases.take('a', 'arm64', gone.signal);
    gone.abort();
    await assert.rejects(waiting, { name: 'AbortError' });
    held[Symbol.dispose]();
    assert.ok(leases.tryTake('a'));
  });

  test('what is held is not taken for removal, and the other way round', async () => {
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

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { cacheShareFor, createMemoryCaches, heapBytes } from '../../src/util/memory-caches.ts';

function bed() {
  const clock = { now: 1000 };
  const caches = createMemoryCaches(() => clock.now);
  return { clock, caches, bytesOf: (name: string) => caches.uses().find((use) => use.name === name)?.bytes };
}

suite('caches in memory', () => {
  test('hold no more bytes than their limit, whatever the size of their entries', () => {
    const { caches, bytesOf } = bed();
    const cache = caches.open<object>({ name: 'a', limit: 100_000 });
    for (let at = 0; at < 1000; at++) {
      cache.set(`key-${at}`, { text: 'x'.repeat(at * 20) });
      assert.ok((bytesOf('a') ?? 0) <= 100_000, `${bytesOf('a')} bytes`);
    }
    assert.equal(cache.get('key-0'), undefined);
    assert.ok(cache.get('key-999') !== undefined);
  });

  test('keep no entry that is larger than their limit, and lose none for it', () => {
    const { caches } = bed();
    const cache = caches.open<string>({ name: 'a', limit: 1000 });
    cache.set('small', 'x');
    cache.set('large', 'x'.repeat(1000));
    assert.equal(cache.get('large'), undefined);
    assert.equal(cache.get('small'), 'x');
  });

  test('have less in a process with little memory', () => {
    const mebibytes = [64, 128, 256, 512, 4096];
    const shares = mebibytes.map((memory) => cacheShareFor(memory * 2 ** 20));
    assert.deepEqual(shares, [0.25, 0.25, 0.5, 1, 1]);
    const caches = createMemoryCaches(() => 0, 0.5);
    const cache = caches.open<string>({ name: 'a', limit: 1000 });
    cache.set('k', 'x'.repeat(600));
    assert.equal(cache.get('k'), undefined);
    assert.deepEqual(caches.uses(), [{ name: 'a', bytes: 0, limit: 500 }]);
  });

  test('count long keys, too', () => {
    const { caches, bytesOf } = bed();
    caches.open<true>({ name: 'a', limit: 10_000 }).set('k'.repeat(5000), true);
    assert.ok((bytesOf('a') ?? 0) > 5000);
  });

  test('lose what has expired at a purge, not only when it is asked for', () => {
    const { clock, caches, bytesOf } = bed();
    caches.open<string>({ name: 'brief', limit: 1000, ttl: 50 }).set('k', 'v');
    caches.open<string>({ name: 'lasting', limit: 1000 }).set('k', 'v');
    clock.now += 51;
    caches.purge();
    assert.equal(bytesOf('brief'), 0);
    assert.ok((bytesOf('lasting') ?? 0) > 0);
    caches.clear();
    assert.equal(bytesOf('lasting'), 0);
  });

  test('are listed with other memory, which is freed with them if possible', () => {
    const { caches, bytesOf } = bed();
    let ready = 300;
    const clear = (): void => {
      ready = 0;
    };
    caches.list({ name: 'buffers', limit: 500, bytes: () => ready, clear });
    caches.list({ name: 'in-use', limit: 500, bytes: () => 200 });
    assert.equal(bytesOf('buffers'), 300);
    caches.clear();
    assert.deepEqual([bytesOf('buffers'), bytesOf('in-use')], [0, 200]);
  });

  test('with the same name are one line in the list', () => {
    const { caches } = bed();
    for (const key of ['a', 'b']) caches.open<true>({ name: 'same', limit: 1000 }).set(key, true);
    assert.deepEqual(
      caches.uses().map(({ name, limit }) => [name, limit]),
      [['same', 2000]],
    );
  });

  test('count a wide text twice, and the parts of lists and objects', () => {
    assert.equal(heapBytes('ЖЖЖЖ') - heapBytes('abcd'), 4);
    assert.ok(heapBytes({ a: ['x'.repeat(100), Buffer.alloc(200)] }) > 300);
    assert.ok(heapBytes(new Map([['realm', 'x'.repeat(100)]])) > 100);
  });
});

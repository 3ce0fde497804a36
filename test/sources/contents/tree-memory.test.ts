import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createTreeMemory, treeLimitFor } from '../../../src/sources/contents/tree-memory.ts';
import { createMemoryCaches } from '../../../src/util/memory-caches.ts';

const LIMIT = 100;

function createMemory() {
  const caches = createMemoryCaches(() => 0);
  const memory = createTreeMemory(caches, LIMIT);
  const used = () => caches.uses().find(({ name }) => name === 'file-trees-in-use')?.bytes;
  return { memory, used };
}

suite('the memory for file trees in use', () => {
  test('counts a tree once for all of its requests, until the last one ends', () => {
    const { memory, used } = createMemory();
    const [one, other] = [new AbortController(), new AbortController()];
    memory.hold('image', 30, 'a', one.signal);
    memory.hold('image', 30, 'b', other.signal);
    assert.equal(used(), 30);
    one.abort();
    assert.equal(used(), 30);
    other.abort();
    assert.equal(used(), 0);
  });

  test('leaves half of it to other clients', () => {
    const { memory, used } = createMemory();
    const over = new AbortController();
    memory.hold('first', 40, 'a', over.signal);
    assert.throws(() => memory.hold('second', 20, 'a', over.signal), { code: 'overloaded' });
    memory.hold('first', 40, 'a', over.signal);
    memory.hold('second', 20, 'b', over.signal);
    assert.equal(used(), 60);
    over.abort();
    memory.hold('second', 20, 'a', new AbortController().signal);
    assert.equal(used(), 20);
  });

  test('never holds more than its limit', () => {
    const { memory, used } = createMemory();
    const over = new AbortController();
    memory.hold('large', 90, 'a', over.signal);
    assert.throws(() => memory.hold('small', 20, 'b', over.signal), { code: 'overloaded' });
    assert.throws(() => memory.hold('small', 20, undefined, over.signal), { code: 'overloaded' });
    assert.equal(used(), 90);
  });

  test('counts nothing for a request that has ended', () => {
    const { memory, used } = createMemory();
    assert.throws(() => memory.hold('image', 10, 'a', AbortSignal.abort()), { name: 'AbortError' });
    assert.equal(used(), 0);
  });

  test('is a quarter of the memory of the process, within bounds', () => {
    const MiB = 2 ** 20;
    assert.equal(treeLimitFor(128 * MiB), 64 * MiB);
    assert.equal(treeLimitFor(1024 * MiB), 256 * MiB);
    assert.equal(treeLimitFor(Number.POSITIVE_INFINITY), 512 * MiB);
  });
});

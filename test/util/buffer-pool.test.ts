import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createBufferPool } from '../../src/util/buffer-pool.ts';

suite('a pool of buffers', () => {
  test('gives the last one back first, and only one of the right size', () => {
    const pool = createBufferPool(1024);
    const [first, second, other] = [pool.take(256), pool.take(256), pool.take(128)];
    pool.give(first);
    pool.give(second);
    pool.give(other);
    assert.equal(pool.take(256), second);
    assert.equal(pool.take(128), other);
    assert.equal(pool.take(256), first);
    assert.equal(pool.take(256).length, 256);
  });

  test('keeps no more than it may', () => {
    const pool = createBufferPool(512);
    const buffers = [pool.take(256), pool.take(256), pool.take(256)];
    for (const buffer of buffers) pool.give(buffer);
    const again = [pool.take(256), pool.take(256), pool.take(256)];
    assert.equal(again.filter((buffer) => buffers.includes(buffer)).length, 2);
  });

  test('frees buffers of other sizes to keep released ones', () => {
    const pool = createBufferPool(512);
    const [large, small] = [pool.take(512), pool.take(128)];
    pool.give(large);
    pool.give(small);
    assert.equal(pool.take(128), small);
    assert.notEqual(pool.take(512), large);
  });

  test('counts the unused buffers, and frees them', () => {
    const pool = createBufferPool(512);
    const [first, second] = [pool.take(256), pool.take(128)];
    assert.equal(pool.kept(), 0);
    pool.give(first);
    pool.give(second);
    assert.equal(pool.kept(), 384);
    pool.clear();
    assert.equal(pool.kept(), 0);
    assert.notEqual(pool.take(256), first);
    pool.give(first);
    assert.equal(pool.take(256), first);
  });
});

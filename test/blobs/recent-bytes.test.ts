import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createRecentBytes } from '../../src/blobs/recent-bytes.ts';

const WINDOW = 2 * 1024 * 1024;
const PIECE = WINDOW / 8;

function setUp({ limit = 4 * WINDOW, positions = [0], stored = Number.POSITIVE_INFINITY } = {}) {
  const budget = { limit, held: 0 };
  const released: number[] = [];
  const file = { stored };
  const recent = createRecentBytes({
    ...{ budget, window: WINDOW, positions: () => positions },
    mustKeep: () => file.stored,
  });
  let end = 0;
  /** Adds pieces, each filled with its number. */
  const add = (count: number): void => {
    for (let left = count; left > 0; left--) {
      const number = end / PIECE;
      recent.add(end, Buffer.alloc(PIECE, number), () => released.push(number));
      end += PIECE;
    }
  };
  return { budget, released, file, recent, positions, add };
}

suite('recent bytes', () => {
  test('lend the rest of a piece from any position in it', () => {
    const { recent, add } = setUp();
    add(2);
    assert.equal(recent.lend(PIECE + 1)?.bytes.length, PIECE - 1);
    assert.equal(recent.lend(PIECE + 1)?.bytes[0], 1);
    assert.equal(recent.lend(2 * PIECE), undefined);
  });

  test('drop a piece when all readers within the window have passed it', () => {
    const { budget, released, positions, add } = setUp({ positions: [0, PIECE] });
    add(2);
    assert.deepEqual(released, []);
    positions[0] = PIECE;
    add(1);
    assert.deepEqual([released, budget.held], [[0], 2 * PIECE]);
  });

  test('ignore readers that are behind the window, ahead of it, or elsewhere', () => {
    const positions = [0, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, 100 * PIECE];
    const { budget, released, recent, add } = setUp({ positions });
    add(9);
    assert.equal(budget.held, 0);
    assert.equal(released.length, 9);
    assert.equal(recent.lend(0), undefined);
  });

  test('stay in memory until they are written, even beyond all limits', () => {
    const { budget, released, file, recent, add } = setUp({ positions: [], limit: PIECE, stored: 0 });
    add(3);
    assert.deepEqual([budget.held, released], [3 * PIECE, []]);
    file.stored = 2 * PIECE;
    recent.trim();
    assert.deepEqual([budget.held, released], [PIECE, [0, 1]]);
  });

  test('never exceed the window of a fetch, nor the limit of the process', () => {
    const narrow = setUp();
    for (let added = 0; added < 8; added++) {
      narrow.add(1);
      assert.ok(narrow.budget.held <= WINDOW);
    }
    const poor = setUp({ limit: 2 * PIECE });
    poor.add(8);
    assert.deepEqual([poor.budget.held, poor.released], [2 * PIECE, [0, 1, 2, 3, 4, 5]]);
  });

  test('release the memory of a lent piece only after its last use', () => {
    const { budget, released, recent, add } = setUp();
    add(1);
    const uses = [recent.lend(0), recent.lend(1)];
    recent.clear();
    assert.equal(recent.lend(0), undefined);
    for (const use of uses) {
      assert.deepEqual([released, budget.held], [[], PIECE]);
      use?.release();
    }
    assert.deepEqual([released, budget.held], [[0], 0]);
  });
});

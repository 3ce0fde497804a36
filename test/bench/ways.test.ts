import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RowId } from '../../bench/figures.ts';
import { takeTurns, type Way } from '../../bench/ways.ts';

const { signal } = new AbortController();

test('ways take turns, each for its number of repetitions, and give medians', async () => {
  const order: RowId[] = [];
  const way = (id: RowId, repetitions: number, ...seconds: number[]): Way => ({
    ids: [id],
    repetitions,
    measure: async () => {
      order.push(id);
      return [
        { id, figures: { seconds: seconds.shift() ?? 0, imageBytes: 1 }, note: `${seconds.length} left` },
      ];
    },
  });
  const rows = await takeTurns([way('docker', 1, 9), way('blobs', 3, 5, 1, 2)], signal, () => {});
  assert.deepEqual(order, ['docker', 'blobs', 'blobs', 'blobs']);
  assert.deepEqual(rows, [
    { id: 'docker', figures: { seconds: 9, imageBytes: 1 }, runs: 1, note: '0 left' },
    { id: 'blobs', figures: { seconds: 2, imageBytes: 1 }, runs: 3, note: '0 left' },
  ]);
});

test('an absent way is not measured, and each of its lines says why', async () => {
  const measure = () => assert.fail('measured');
  const ids: RowId[] = ['nginx-proxy', 'nginx-static'];
  const rows = await takeTurns(
    [{ ids, absent: 'nginx is not installed', repetitions: 1, measure }],
    signal,
    () => {},
  );
  assert.deepEqual(
    rows,
    ids.map((id) => ({ id, absent: 'nginx is not installed' })),
  );
});

test('a way that fails is absent from then on, unless it is essential or all is over', async () => {
  let calls = 0;
  const failing: Way = {
    ids: ['docker'],
    repetitions: 3,
    measure: async () => {
      calls++;
      throw new Error('no engine\nis here\n');
    },
  };
  const rows = await takeTurns([failing], signal, () => {});
  assert.deepEqual([rows, calls], [[{ id: 'docker', absent: 'it failed: no engine is here' }], 1]);
  await assert.rejects(
    takeTurns([{ ...failing, essential: true }], signal, () => {}),
    /no engine/,
  );
  await assert.rejects(
    takeTurns([failing], AbortSignal.abort(new Error('over')), () => {}),
    /over/,
  );
});

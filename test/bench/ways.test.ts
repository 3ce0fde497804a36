import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RowId } from './figures.ts';
import { takeTurns, type Way } from './ways.ts';

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
  const rows = await takeTurns([way('docker', 1, 9), way('blobs', 3, 5, 1, 2)], () => {});
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
    () => {},
  );
  assert.deepEqual(
    rows,
    ids.map((id) => ({ id, absent: 'nginx is not installed' })),
  );
});

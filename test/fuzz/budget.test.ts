import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { BUDGET } from './budget.ts';

suite('the budget of generated inputs', () => {
  test('is at least 100,000 in every run of the tests', () => {
    const total = Object.values(BUDGET).reduce((sum, count) => sum + count, 0);
    assert.ok(total >= 100_000, `${total}`);
  });

  test('is spent: each edge has its test', () => {
    const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.test.ts'));
    const sources = files.map((name) => readFileSync(join(import.meta.dirname, name), 'utf8')).join('');
    const unspent = Object.keys(BUDGET).filter((edge) => !sources.includes(`runs('${edge}')`));
    assert.deepEqual(unspent, []);
  });
});

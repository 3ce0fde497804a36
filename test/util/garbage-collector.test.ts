import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { promisify } from 'node:util';

const module = join(import.meta.dirname, '../../src/util/garbage-collector.ts');

/** Fills the space for new objects with objects that live for a moment, as a startup does. */
const program = (isIdle: string): string => `
  import { getHeapSpaceStatistics } from 'node:v8';
  import { freeStartupMemory } from ${JSON.stringify(module)};
  const bytes = () => getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').physical_space_size;
  let kept = Array.from({ length: 400_000 }, (_, at) => ({ at }));
  const before = bytes();
  kept = undefined;
  let asked = 0;
  freeStartupMemory(${isIdle});
  const wait = () => {
    if (bytes() >= before / 4) return void setTimeout(wait, 10);
    process.stdout.write('freed after ' + asked);
  };
  wait();
`;

async function freed(isIdle: string): Promise<string> {
  const args = ['--max-semi-space-size=16', '--input-type=module', '--eval', program(isIdle)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
  return stdout;
}

suite('the memory for new objects', () => {
  test('shrinks once a program has started', async () => {
    assert.equal(await freed(''), 'freed after 0');
  });

  test('does not shrink while the program is busy', async () => {
    assert.equal(await freed('() => ++asked === 3'), 'freed after 3');
  });
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';

const RUNNER = new URL('../../bin/run-bundle.js', import.meta.url).href;
const MAIN = `
  for (let count = 0; count < 2; count += 1) {
    try { require('./broken.cjs'); console.log('loaded'); } catch (error) { console.log(error.message); }
  }`;

test('run bundle › fails each time that a broken script is loaded', () => {
  const folder = mkdtempSync(join(tmpdir(), 'run-bundle-'));
  try {
    const main = join(folder, 'main.cjs');
    writeFileSync(main, MAIN);
    writeFileSync(join(folder, 'broken.cjs'), `exports.half = 1; throw new Error('broken');`);
    const program = `import { runBundle } from ${JSON.stringify(RUNNER)}; runBundle(${JSON.stringify(main)});`;
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
    });
    assert.equal(output, 'broken\nbroken\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('run bundle › leaves no unfinished file when code cannot be kept', () => {
  const folder = mkdtempSync(join(tmpdir(), 'run-bundle-'));
  try {
    const main = join(folder, 'main.cjs');
    writeFileSync(main, `require('./chunk-a.cjs');`);
    writeFileSync(join(folder, 'chunk-a.cjs'), '');
    const kept = join(folder, 'kept');
    mkdirSync(kept);
    const program = `import { runBundle } from ${JSON.stringify(RUNNER)};
      runBundle(${JSON.stringify(main)}, ${JSON.stringify(kept)});`;
    const run = () => execFileSync(process.execPath, ['--input-type=module', '-e', program]);
    run();
    const [code = ''] = readdirSync(kept);
    const file = join(kept, code, 'chunk-a.cjs');
    rmSync(file);
    mkdirSync(file);
    run();
    assert.deepEqual(readdirSync(join(kept, code)), ['chunk-a.cjs']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { EXIT_CODES } from '../../src/commands/exit-codes.ts';

const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'command-line.md'), 'utf8');

suite('exit codes', () => {
  test('docs/command-line.md lists exactly those of the program, and 0', () => {
    const [, table = ''] = /^## Exit codes$([\s\S]*?)(?:^## |$(?![\s\S]))/m.exec(page) ?? [];
    const listed = [...table.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code));
    assert.deepEqual(listed, [0, ...Object.values(EXIT_CODES)]);
  });

  test('the unit does not restart a service that has a mistake in its settings or command line', () => {
    const unit = readFileSync(
      join(import.meta.dirname, '..', '..', 'deploy', 'systemd', 'dockerproxy.service'),
      'utf8',
    );
    assert.match(
      unit,
      new RegExp(`^RestartPreventExitStatus=${EXIT_CODES.usage} ${EXIT_CODES.config}$`, 'm'),
    );
  });
});

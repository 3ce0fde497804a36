/**
 * Runs the unit tests in two processes: the tests in folders that mirror src/, unless they can use a program or a socket.
 * Their PATH has only Node.js, so that src/ cannot start other programs either.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { importsOf } from '../docs/import-graph.ts';

/** Modules with which tests start programs, or speak to real parts and to the server. */
const REAL: ReadonlySet<string> = new Set([
  'node:child_process',
  'node:http',
  'node:https',
  'node:net',
  'node:tls',
]);
const PROCESSES = 2;
const ROOT = join(import.meta.dirname, '..');
const SOURCES = join(ROOT, 'src');

/** Tells whether a test, or a module of test/ that it imports, can use a program or a socket. */
function needsRealPart(path: string, seen = new Set<string>()): boolean {
  if (seen.has(path) || !existsSync(path)) return false;
  seen.add(path);
  return importsOf(relative(SOURCES, path), readFileSync(path, 'utf8')).some(({ specifier, target = '' }) => {
    const imported = join(SOURCES, target);
    const isOfTest = imported.startsWith(import.meta.dirname);
    return REAL.has(specifier) || (isOfTest && needsRealPart(imported, seen));
  });
}

const files = globSync('test/*/**/*.test.ts', { cwd: ROOT })
  .filter((path) => existsSync(join(ROOT, dirname(path).replace('test', 'src'))))
  .filter((path) => !needsRealPart(join(ROOT, path)));
// One process for many files loads each module once.
const args = ['--test', '--test-isolation=none', '--test-reporter=dot', ...process.argv.slice(2)];
const env = { ...process.env, PATH: dirname(process.execPath) };
const shards = Array.from({ length: PROCESSES }, (_, at) => files.filter((_file, n) => n % PROCESSES === at));
const codes = await Promise.all(
  shards.map(async (shard) => {
    const [code] = await once(
      spawn(process.execPath, [...args, ...shard], { stdio: 'inherit', env }),
      'exit',
    );
    return Number(code ?? 1);
  }),
);
process.exitCode = Math.max(...codes);

/**
 * Runs the unit tests in two processes, then each other test file in a process of its own. With the argument `unit`, it
 * runs the unit tests alone. Unit tests are those in folders that mirror src/, unless they can use a program or a socket.
 * Their PATH has only Node.js, so that src/ cannot start other programs either.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
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
/** Modules look for the page beside the folder that they are in, so it is at the top. */
const COMPILED = '.compiled';
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

/** Compiles the program, which tests start hundreds of times, as the package has it; returns its path. */
async function compile(): Promise<string> {
  const folder = join(ROOT, COMPILED);
  await rm(folder, { recursive: true, force: true });
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const options = ['-p', 'tsconfig.build.json', '--outDir', folder];
  if ((await runNode([compiler, ...options])) !== 0 || (await runNode(['build/bundle.ts', COMPILED])) !== 0) {
    throw new Error('The program does not compile.');
  }
  return join(folder, 'main.js');
}

/** Returns the exit status of Node.js with these arguments. */
async function runNode(args: readonly string[], env = process.env): Promise<number> {
  const [code] = await once(spawn(process.execPath, args, { cwd: ROOT, stdio: 'inherit', env }), 'exit');
  return Number(code ?? 1);
}

/** Tells whether a test is in a folder that mirrors src/ and needs no real part. */
function isUnitTest(path: string): boolean {
  const folder = dirname(path).replace('test', 'src');
  return folder !== 'src' && existsSync(join(ROOT, folder)) && !needsRealPart(join(ROOT, path));
}

const files = globSync('test/**/*.test.ts', { cwd: ROOT });
const { unit = [], other = [] } = Object.groupBy(files, (path) => (isUnitTest(path) ? 'unit' : 'other'));
// One process for many files loads each module once.
const together = ['--test', '--test-isolation=none', '--test-reporter=dot'];
const withoutPrograms = { ...process.env, PATH: dirname(process.execPath) };
const shards = Array.from({ length: PROCESSES }, (_, at) => unit.filter((_file, n) => n % PROCESSES === at));
const codes = await Promise.all(shards.map((shard) => runNode([...together, ...shard], withoutPrograms)));
if (process.argv[2] !== 'unit') {
  const env = { ...process.env, COMPILED_PROGRAM: await compile() };
  codes.push(await runNode(['--test', '--test-concurrency=4', ...other], env));
}
process.exitCode = Math.max(...codes);

/**
 * Runs tests in four groups, and with the argument `unit` the first one alone. The linters and the type checker run beside
 * the first group, and the other groups begin only if both pass:
 *
 * - Unit tests: in folders that mirror src/, and without programs and sockets. Their PATH has only Node.js, so that src/
 *   cannot start other programs either.
 * - Other tests that start no program.
 * - Tests of the page, in one process with one browser.
 * - Other tests that start programs, each file in a process of its own.
 *
 * A process for many files loads each module once. The last lines repeat the failures of all groups.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { importsOf } from '../docs/import-graph.ts';

const PROGRAMS: ReadonlySet<string> = new Set(['node:child_process']);
const BROWSER: ReadonlySet<string> = new Set(['playwright-core']);
const SOCKETS: ReadonlySet<string> = new Set(['node:http', 'node:https', 'node:net', 'node:tls']);
/** Not searched: this module starts a program only if another program has mounted something in the folder. */
const TEMPORARY_FOLDER = join(import.meta.dirname, 'support', 'temporary-folder.ts');
/** Modules look for the page beside the folder that they are in, so it is at the top. */
const COMPILED = '.compiled';
const ROOT = join(import.meta.dirname, '..');
const SOURCES = join(ROOT, 'src');
const FAILURES_REPORTER = join(import.meta.dirname, 'failures-reporter.ts');

/** Tells whether a test, or a module of test/ that it imports, imports one of these modules. */
function uses(modules: ReadonlySet<string>, path: string, seen = new Set([TEMPORARY_FOLDER])): boolean {
  if (seen.has(path) || !existsSync(path)) return false;
  seen.add(path);
  return importsOf(relative(SOURCES, path), readFileSync(path, 'utf8')).some(({ specifier, target = '' }) => {
    const imported = join(SOURCES, target);
    const isOfTest = imported.startsWith(import.meta.dirname);
    return modules.has(specifier) || (isOfTest && uses(modules, imported, seen));
  });
}

/** Compiles the program, which tests start hundreds of times, as the package has it; returns its path. */
async function compile(): Promise<string> {
  const folder = join(ROOT, COMPILED);
  await rm(folder, { recursive: true, force: true });
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  // Without types, because `npm test` has checked them.
  const options = ['-p', 'tsconfig.build.json', '--noCheck', '--outDir', folder];
  if ((await runNode([compiler, ...options])) !== 0 || (await runNode(['build/bundle.ts', COMPILED])) !== 0) {
    throw new Error('The program does not compile.');
  }
  return join(folder, 'main.cjs');
}

/** Returns the exit status of a program with these arguments. */
async function run(program: string, args: readonly string[], env = process.env): Promise<number> {
  const [code] = await once(spawn(program, args, { cwd: ROOT, stdio: 'inherit', env }), 'exit');
  return Number(code ?? 1);
}

const runNode = (args: readonly string[], env = process.env) => run(process.execPath, args, env);

const runScript = (name: string) => run('npm', ['run', '--silent', name]);

/** Returns the exit status of tests that share some processes. */
async function runTogether(processes: number, tests: readonly string[], env = process.env): Promise<number> {
  const shards = Array.from({ length: processes }, (_, at) =>
    tests.filter((_test, n) => n % processes === at),
  );
  const options = ['--test-isolation=none'];
  return Math.max(...(await Promise.all(shards.map((shard) => runTests('dot', options, shard, env)))));
}

/** Without files, Node.js would run all tests that it finds. */
async function runTests(
  reporter: string,
  options: readonly string[],
  files: readonly string[],
  env: NodeJS.ProcessEnv,
) {
  if (files.length === 0) return 0;
  const reporters = [
    [reporter, 'stdout'],
    [FAILURES_REPORTER, join(reports, `${reportCount++}`)],
  ].flatMap(([name, to]) => [`--test-reporter=${name}`, `--test-reporter-destination=${to}`]);
  return runNode(['--test', ...reporters, ...options, ...files], env);
}

function groupOf(path: string): 'unit' | 'together' | 'page' | 'alone' {
  const file = join(ROOT, path);
  if (uses(BROWSER, file)) return 'page';
  if (uses(PROGRAMS, file)) return 'alone';
  const folder = dirname(path).replace('test', 'src');
  const mirrors = folder !== 'src' && existsSync(join(ROOT, folder));
  return mirrors && !uses(SOCKETS, file) ? 'unit' : 'together';
}

const reports = await mkdtemp(join(tmpdir(), 'dockerproxy-failures-'));
let reportCount = 0;
const files = globSync('test/**/*.test.ts', { cwd: ROOT });
const { unit = [], together = [], page = [], alone = [] } = Object.groupBy(files, groupOf);
const isWhole = process.argv[2] !== 'unit';
const checks = isWhole ? ['lint', 'typecheck'].map(runScript) : [];
const codes = [await runTogether(2, unit, { ...process.env, PATH: dirname(process.execPath) })];
codes.push(...(await Promise.all(checks)));
if (isWhole && codes.slice(1).every((code) => code === 0)) {
  const env = { ...process.env, COMPILED_PROGRAM: await compile() };
  codes.push(
    ...(await Promise.all([
      runTogether(1, together),
      runTogether(1, page, env),
      runTests('spec', ['--test-concurrency=4'], alone, env),
    ])),
  );
}
process.exitCode = Math.max(...codes);
for (const name of readdirSync(reports)) process.stdout.write(readFileSync(join(reports, name)));
await rm(reports, { recursive: true });

/**
 * Checks the prose of all files in git: documentation, comments, messages, and names of tests. Linters of prose cannot
 * read sentences in TypeScript, so this program does. cspell checks the spelling.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { check } from './rules.ts';
import { paragraphsOf } from './texts.ts';

const ROOT = join(import.meta.dirname, '..', '..');
/** Texts in other languages, of other authors, or that quote what the rules forbid. */
const EXEMPT =
  /^(?:vendor\/|LICENSE$|package(?:-lock)?\.json$|web\/\w+\/(?!en)\w+\.json$|web\/texts-(?!en)\w+\.js$|build\/prose\/rules\.ts$)/;

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const files = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate'],
  { cwd: ROOT, encoding: 'utf8' },
);
const paths = files.split('\n').filter((path) => path !== '' && !EXEMPT.test(path));

const findings = paths.flatMap(findingsOf);
for (const finding of findings) process.stderr.write(`${finding}\n`);
process.exitCode = findings.length > 0 ? 1 : 0;

function findingsOf(path: string): string[] {
  return paragraphsOf(path, read(path)).flatMap(({ line, text }) =>
    check(text).map(({ found, advice }) => `${path}:${line}: "${found}": ${advice}`),
  );
}

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** An import in a file of src/. */
export interface Import {
  /** The path of the importing file below src/. */
  readonly file: string;
  /** The specifier as written: a relative path or a package. */
  readonly specifier: string;
  /** The path of the imported file below src/; undefined for a package. */
  readonly target: string | undefined;
}

const root = join(import.meta.dirname, '..', 'src');

/** Reads all source files, by path below src/. */
export function readSources(): ReadonlyMap<string, string> {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' });
  return new Map(
    files
      .filter((file) => file.endsWith('.ts'))
      .map((file) => [file, readFileSync(join(root, file), 'utf8')]),
  );
}

/** Lists the imports of a file, including types and dynamic imports. */
export function importsOf(file: string, source: string): Import[] {
  // Statements begin a line; a dynamic import may stand anywhere.
  const statements = /^(?:import|export)\b(?:[^'";=]*?\bfrom)?\s*'([^']+)'|\bimport\(\s*'([^']+)'/gm;
  return [...withoutComments(source).matchAll(statements)].map(([, plain, called]) => {
    const specifier = plain ?? called ?? '';
    const isLocal = specifier.startsWith('.');
    const target = isLocal ? relative(root, join(root, dirname(file), specifier)) : undefined;
    return { file, specifier, target };
  });
}

/** Returns the folder of a file, or the name of a file beside the folders: `oci`, `main`. */
export function folderOf(file: string): string {
  return (file.split(/[\\/]/, 1)[0] ?? '').replace(/\.ts$/, '');
}

/** Removes comments and double-quoted strings from a source file. */
export function withoutComments(source: string): string {
  return source.replace(
    /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\/.*|\/\*[\s\S]*?\*\//g,
    (found) => (/^['`]/.test(found) ? found : ''),
  );
}

/** Returns docs/architecture.md with a current drawing of the imports. */
export function withDrawing(page: string): string {
  const imports = [...readSources()].flatMap(([file, source]) => importsOf(file, source));
  const drawing = ['```mermaid', drawFolders(imports), '```'].join('\n');
  return page.replace(
    /(<!-- imports -->\n).*?(<!-- \/imports -->)/s,
    (_found, start: string, end: string) => `${start}${drawing}\n${end}`,
  );
}

/**
 * Draws the imports between the folders of src/ as a Mermaid flowchart. It omits each arrow that follows from others,
 * and the arrows to `errors` and `util`, which every folder may import.
 *
 * @see https://mermaid.js.org/syntax/flowchart.html
 */
function drawFolders(imports: readonly Import[]): string {
  const arrows = new Map<string, Set<string>>();
  for (const { file, target } of imports) {
    if (target === undefined) continue;
    const [from, to] = [folderOf(file), folderOf(target)];
    if (from === to || to === 'errors' || to === 'util') continue;
    arrows.set(from, (arrows.get(from) ?? new Set()).add(to));
  }
  const reaches = (from: string, to: string): boolean =>
    [...(arrows.get(from) ?? [])].some((next) => next === to || reaches(next, to));
  const lines = [...arrows].flatMap(([from, targets]) =>
    [...targets]
      .filter((to) => ![...targets].some((other) => other !== to && reaches(other, to)))
      .map((to) => `  ${from} --> ${to}`),
  );
  return ['flowchart TD', ...lines.sort()].join('\n');
}

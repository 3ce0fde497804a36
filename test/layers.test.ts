import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import {
  folderOf,
  type Import,
  importsOf,
  readSources,
  withDrawing,
  withoutComments,
} from '../docs/import-graph.ts';

/**
 * The allowed imports between the folders of src/, in which main.ts and errors.ts count as folders. A folder may import
 * all folders in the rows above its own. A new folder needs a place here.
 */
const LAYERS: Readonly<Record<string, readonly string[]>> = arrows([
  ['util'],
  ['errors'],
  ['oci', 'redis', 'tar'],
  ['contents'],
  ['archive', 'trust', 'policy', 'limits', 'net', 'blobs', 'tls', 'telemetry'],
  ['registry'],
  ['sources'],
  ['download', 'pull'],
]);

/** The folders beside the rows, with all that each may import. */
const BESIDE: Readonly<Record<string, readonly string[]>> = {
  config: ['errors', 'util', 'oci', 'redis', 'trust'],
  systemd: ['errors', 'util', 'config'],
  http: [
    'errors',
    'util',
    'oci',
    'telemetry',
    'contents',
    'archive',
    'policy',
    'limits',
    'registry',
    'sources',
    'download',
    'pull',
  ],
  cli: ['errors', 'util', 'oci', 'contents', 'archive', 'net', 'config', 'registry', 'sources', 'download'],
  app: [...Object.keys(LAYERS), 'config', 'systemd', 'http'],
  cluster: ['errors', 'util', 'redis', 'telemetry', 'tls', 'config', 'systemd', 'http', 'app'],
  commands: [...Object.keys(LAYERS), 'config', 'systemd', 'cli', 'app', 'cluster'],
  main: ['cli', 'commands'],
};

const ALLOWED: Readonly<Record<string, readonly string[]>> = { ...LAYERS, ...BESIDE };

/** Packages that only one folder or file may import. */
const OWNERS: Readonly<Record<string, string>> = {
  undici: 'net',
  dockerode: 'sources/engine',
  'docker-modem': 'sources/engine',
  greenlock: 'tls',
  '@root/acme': 'tls',
  '@root/csr': 'tls',
  '@root/greenlock': 'tls',
  'node:cluster': 'cluster/peers.ts',
  ioredis: 'redis/connect.ts',
  // Each cache must count its bytes and be in the list that /metrics shows.
  'lru-cache': 'util/memory-caches.ts',
};

const sources = readSources();
const files = [...sources.keys()];
const imports = [...sources].flatMap(([file, source]) => importsOf(file, source));

suite('the layers of src/', () => {
  test('there is something to look at', () => {
    assert.ok(files.includes('main.ts') && files.length > 20, files.join());
    assert.ok(imports.some(({ file, target }) => file === 'main.ts' && target === 'commands/serve.ts'));
    assert.ok(imports.some(({ specifier }) => specifier === 'undici'));
  });

  test('every part has its place', () => {
    const unplaced = files.filter((file) => ALLOWED[folderOf(file)] === undefined);
    assert.deepEqual(unplaced, [], 'a part that LAYERS does not know');
  });

  test('arrows point one way', () => {
    const against = imports.filter(({ file, target }) => {
      if (target === undefined || folderOf(target) === folderOf(file)) return false;
      return !ALLOWED[folderOf(file)]?.includes(folderOf(target));
    });
    assert.deepEqual(against.map(describe), [], 'imports against the arrows');
  });

  test('docs/architecture.md draws the imports; npm run docs updates it', () => {
    const page = readFileSync(join(import.meta.dirname, '..', 'docs', 'architecture.md'), 'utf8');
    assert.equal(withDrawing(page), page);
    assert.match(page, /\n {2}http --> download\n/);
  });

  test('each folder with more than five files has a README of at most 25 lines', () => {
    const folders = Object.entries(Object.groupBy(files, (file) => dirname(file)));
    for (const [folder, { length = 0 } = []] of folders.filter(([folder]) => folder !== '.')) {
      const readme = join(import.meta.dirname, '..', 'src', folder, 'README.md');
      if (!existsSync(readme)) assert.ok(length <= 5, `${folder} has ${length} files`);
      else assert.ok(readFileSync(readme, 'utf8').trimEnd().split('\n').length <= 25, readme);
    }
  });

  test('imported files exist', () => {
    const dangling = imports.filter(({ target }) => target !== undefined && !sources.has(target));
    assert.deepEqual(dangling.map(describe), []);
  });

  test('each package with an owner is imported by its owner alone', () => {
    const strangers = imports.filter(({ file, specifier }) => {
      const owner = OWNERS[packageOf(specifier)];
      return owner !== undefined && file !== owner && !file.startsWith(`${owner}/`);
    });
    assert.deepEqual(strangers.map(describe), []);
  });

  test('clients of the engine and of Redis are loaded only where they are wanted', () => {
    const reached = new Set<string>();
    const walk = (file: string): void => {
      if (reached.has(file)) return;
      reached.add(file);
      for (const { target } of staticImportsOf(file)) if (target !== undefined) walk(target);
    };
    walk('app/single-process.ts');
    walk('cluster/primary.ts');
    assert.ok(reached.has('app/app.ts') && reached.has('sources/registry/source.ts'));
    assert.equal(reached.has('sources/engine/engine.ts'), false);
    assert.equal(reached.has('redis/connect.ts'), false);
  });

  test('only main.ts and commands/ use the process', () => {
    const touching = [...sources].filter(
      ([file, source]) => !['main', 'commands'].includes(folderOf(file)) && touchesProcess(source),
    );
    assert.deepEqual(
      touching.map(([file]) => file),
      [],
      'files that use `process`',
    );
  });

  test('no imports go in a circle', () => {
    const circles = files.map((file) => circleFrom(file)).filter((circle) => circle !== undefined);
    assert.deepEqual(circles[0]?.join(' → '), undefined);
  });

  test('files have no barrels and no default exports', () => {
    const barrels = files.filter((file) => /(?:^|[\\/])index\.ts$/.test(file));
    const reexporting = [...sources].filter(([, source]) =>
      /^export [^;=]*? from '/m.test(withoutComments(source)),
    );
    const defaults = [...sources].filter(([, source]) =>
      /^export (?:default\b|\{[^}]*\bas default\b)/m.test(withoutComments(source)),
    );
    assert.deepEqual(barrels, []);
    assert.deepEqual(
      reexporting.map(([file]) => file),
      [],
      'files that export what is not theirs',
    );
    assert.deepEqual(
      defaults.map(([file]) => file),
      [],
      'default exports',
    );
  });
});

suite('how the layers are read', () => {
  test('every form of import is seen, comments and texts are not', () => {
    const source = [
      "import a from './a.ts';",
      "import {\n  b,\n  type C,\n} from './b.ts';",
      "import type { D } from './d.ts';",
      "export { e } from './e.ts';",
      "import './f.ts';",
      "const g = await import('./g.ts');",
      "type H = import('./h.ts').H;",
      "// import './no.ts';",
      "/* import './no.ts'; */",
      'const text = "import \'./no.ts\';";',
    ].join('\n');
    const seen = importsOf('x/y.ts', source).map(({ target }) => target);
    assert.deepEqual(
      seen,
      ['a', 'b', 'd', 'e', 'f', 'g', 'h'].map((name) => join('x', `${name}.ts`)),
    );
  });

  test('the process is seen in all its forms, words are not', () => {
    for (const source of [
      'process.exit(1);',
      'const { env } = process;',
      'f(process)',
      'globalThis.process',
      'const a = `$' + '{process.env.A}`;',
      "import { argv } from 'node:process';",
      "import p from 'process';",
    ]) {
      assert.equal(touchesProcess(source), true, source);
    }
    for (const source of [
      '// process.exit',
      "f('process.exit')",
      'const processed = 1;',
      'worker.process.pid;',
      'const a = `the process`;',
    ]) {
      assert.equal(touchesProcess(source), false, source);
    }
  });
});

function arrows(row: readonly (readonly string[])[]): Record<string, readonly string[]> {
  return Object.fromEntries(row.flatMap((parts, at) => parts.map((part) => [part, row.slice(0, at).flat()])));
}

function packageOf(specifier: string): string {
  return /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? '';
}

function describe({ file, specifier }: Import): string {
  return `src/${file} imports ${specifier}`;
}

/** Returns the imports that load with a file: without types and without dynamic imports. */
function staticImportsOf(file: string): Import[] {
  const source = (sources.get(file) ?? '').replace(/^import type [^;]*;/gm, '').replace(/\bimport\(/g, '(');
  return importsOf(file, source);
}

function touchesProcess(source: string): boolean {
  const bare = withoutComments(source);
  if (/(?:from|import|import\()\s*'(?:node:)?process'/.test(bare)) return true;
  const withoutTexts = bare
    .replace(/'(?:\\.|[^'\\\n])*'/g, "''")
    .replace(/`(?:\\.|[^`\\])*`/g, (text) => (text.match(/\$\{[^}]*\}/g) ?? []).join(' '));
  // That of another process is a property: `worker.process`.
  return /(?<![\w$-]|\bworker\.)process(?![\w$-])/.test(withoutTexts);
}

/** Finds the first import cycle through a file. */
function circleFrom(start: string): readonly string[] | undefined {
  const seen = new Set<string>();
  const walk = (file: string, way: readonly string[]): readonly string[] | undefined => {
    for (const { target } of imports.filter((found) => found.file === file)) {
      if (target === start) return [...way, target];
      if (target === undefined || seen.has(target)) continue;
      seen.add(target);
      const circle = walk(target, [...way, target]);
      if (circle !== undefined) return circle;
    }
    return undefined;
  };
  return walk(start, [start]);
}

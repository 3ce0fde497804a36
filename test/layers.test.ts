import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { suite, test } from 'node:test';

/**
 * The arrows of the design: what each part of src/ may import besides itself. A file at the top of src/ is a part of
 * its own. A new part has to be given its place here.
 */
const LAYERS: Readonly<Record<string, readonly string[]>> = arrows([
  ['builtins'],
  [
    'errors',
    'pace',
    'streams',
    'single-flight',
    'gate',
    'ip-address',
    'replace-file',
    'byte-size',
    'turns',
    'buffer-pool',
    'memory-caches',
    'memory-gauges',
    'garbage-collector',
    'retry-after',
    'system-authorities',
    'stop-signals',
    'version',
  ],
  ['oci', 'redis'],
  ['archive', 'net', 'blobs', 'policy', 'trust', 'tls', 'telemetry'],
  ['registry'],
  ['sources'],
  ['http'],
]);

/** Parts outside this order. `app`, `cluster`, `cli`, `commands` and `main` come last, and may use everything. */
const BESIDE: Readonly<Record<string, readonly string[]>> = {
  config: ['oci', 'redis', 'trust', 'errors', 'ip-address', 'byte-size', 'builtins'],
  access: [...Object.keys(LAYERS), 'config'],
  certificates: ['replace-file', 'tls', 'telemetry', 'config', 'redis', 'turns'],
  registries: [...Object.keys(LAYERS), 'config'],
  images: [...Object.keys(LAYERS), 'config', 'telemetry', 'registries'],
  'counting-stores': ['policy', 'redis', 'config', 'memory-caches'],
  app: [...Object.keys(LAYERS), 'config', 'access', 'certificates', 'images', 'counting-stores'],
  service: ['config'],
  'shared-redis': ['redis', 'config'],
  single: ['app', 'certificates', 'config', 'images', 'service', 'shared-redis'],
  cluster: [
    ...Object.keys(LAYERS),
    'config',
    'certificates',
    'images',
    'app',
    'counting-stores',
    'service',
    'shared-redis',
  ],
  cli: [...Object.keys(LAYERS), 'config'],
  commands: [
    ...Object.keys(LAYERS),
    ...['version', 'config', 'registries', 'images', 'cli', 'service', 'single', 'cluster'],
  ],
  main: ['version', 'config', 'commands'],
};

const ALLOWED: Readonly<Record<string, readonly string[]>> = { ...LAYERS, ...BESIDE };

/** Packages that one part, or one file, alone may know. */
const OWNERS: Readonly<Record<string, string>> = {
  undici: 'net',
  dockerode: 'sources/engine/engine.ts',
  'docker-modem': 'sources/engine/engine.ts',
  greenlock: 'tls',
  '@root/acme': 'tls',
  '@root/csr': 'tls',
  '@root/greenlock': 'tls',
  'node:cluster': 'cluster/peers.ts',
  ioredis: 'redis/connect.ts',
  // Each cache must count its bytes and be in the list that /metrics shows.
  'lru-cache': 'memory-caches.ts',
};

interface Import {
  readonly file: string;
  /** As it is written: a path or a package. */
  readonly specifier: string;
  /** The imported file, where it is one of src/. */
  readonly target: string | undefined;
}

const root = join(import.meta.dirname, '..', 'src');
const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
const sources = new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]));
const imports = [...sources].flatMap(([file, source]) => importsOf(file, source));

suite('the layers of src/', () => {
  test('there is something to look at', () => {
    assert.ok(files.includes('main.ts') && files.length > 20, files.join());
    assert.ok(imports.some(({ file, target }) => file === 'main.ts' && target === 'commands/serve.ts'));
    assert.ok(imports.some(({ specifier }) => specifier === 'undici'));
  });

  test('every part has its place', () => {
    const unplaced = files.filter((file) => ALLOWED[partOf(file)] === undefined);
    assert.deepEqual(unplaced, [], 'a part that LAYERS does not know');
  });

  test('arrows point one way', () => {
    const against = imports.filter(({ file, target }) => {
      if (target === undefined || partOf(target) === partOf(file)) return false;
      return !ALLOWED[partOf(file)]?.includes(partOf(target));
    });
    assert.deepEqual(against.map(describe), [], 'imports against the arrows');
  });

  test('what is imported is there', () => {
    const dangling = imports.filter(({ target }) => target !== undefined && !sources.has(target));
    assert.deepEqual(dangling.map(describe), []);
  });

  test('each package with an owner is imported by its owner alone', () => {
    const strangers = imports.filter(({ file, specifier }) => {
      const owner = OWNERS[packageOf(specifier)];
      return owner !== undefined && ![file, partOf(file)].includes(owner);
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
    walk('single.ts');
    walk('cluster/primary.ts');
    assert.ok(reached.has('app.ts') && reached.has('sources/registry-source.ts'));
    assert.equal(reached.has('sources/engine/engine.ts'), false);
    assert.equal(reached.has('redis/connect.ts'), false);
  });

  test('only main.ts and commands/ use the process', () => {
    const touching = [...sources].filter(
      ([file, source]) => !['main', 'commands'].includes(partOf(file)) && touchesProcess(source),
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

  test('there are no barrels and no default exports', () => {
    const barrels = files.filter((file) => /(?:^|[\\/])index\.ts$/.test(file));
    const reexporting = [...sources].filter(([, source]) => /^export [^;=]*? from '/m.test(code(source)));
    const defaults = [...sources].filter(([, source]) =>
      /^export (?:default\b|\{[^}]*\bas default\b)/m.test(code(source)),
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

/** The folder, or the file at the top, without its ending: `oci`, `main`. */
function partOf(file: string): string {
  return (file.split(/[\\/]/, 1)[0] ?? '').replace(/\.ts$/, '');
}

function packageOf(specifier: string): string {
  return /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? '';
}

function describe({ file, specifier }: Import): string {
  return `src/${file} imports ${specifier}`;
}

function importsOf(file: string, source: string): Import[] {
  // The statements stand at the beginning of a line; a call may stand anywhere.
  const statements = /^(?:import|export)\b(?:[^'";=]*?\bfrom)?\s*'([^']+)'|\bimport\(\s*'([^']+)'/gm;
  return [...code(source).matchAll(statements)].map(([, plain, called]) => {
    const specifier = plain ?? called ?? '';
    const isLocal = specifier.startsWith('.');
    const target = isLocal ? relative(root, join(root, dirname(file), specifier)) : undefined;
    return { file, specifier, target };
  });
}

/** What is loaded with a file: neither types nor what is imported when it is called for. */
function staticImportsOf(file: string): Import[] {
  const source = (sources.get(file) ?? '').replace(/^import type [^;]*;/gm, '').replace(/\bimport\(/g, '(');
  return importsOf(file, source);
}

/** Source without its comments and without what stands in double quotes. */
function code(source: string): string {
  return source.replace(
    /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\/.*|\/\*[\s\S]*?\*\//g,
    (found) => (/^['`]/.test(found) ? found : ''),
  );
}

function touchesProcess(source: string): boolean {
  const bare = code(source);
  if (/(?:from|import|import\()\s*'(?:node:)?process'/.test(bare)) return true;
  const withoutTexts = bare
    .replace(/'(?:\\.|[^'\\\n])*'/g, "''")
    .replace(/`(?:\\.|[^`\\])*`/g, (text) => (text.match(/\$\{[^}]*\}/g) ?? []).join(' '));
  // That of another process is a property: `worker.process`.
  return /(?<![\w$-]|\bworker\.)process(?![\w$-])/.test(withoutTexts);
}

/** The first way from a file back to itself. */
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

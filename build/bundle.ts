/**
 * Bundles main.js, which tsc writes to dist/ or the folder in the argument, with the packages that it imports. Thus, a
 * command loads one file instead of hundreds. Code that runs in a thread or loads on demand stays as tsc wrote it. The
 * bundle consists of scripts instead of modules, because V8 keeps the functions that ran only for scripts.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type Plugin, rolldown } from 'rolldown';

const root = join(import.meta.dirname, '..');
const dist = join(root, process.argv[2] ?? 'dist');
/** Packages that few start with: what they load by a path of their own would not be in a bundle. */
const SEPARATE = [/^greenlock$/, /^@root\//, /^dockerode$/, /^ioredis$/, /^pino-pretty$/];

/** Modules that packages import, and whose functions this program never calls. */
const UNUSED = [
  // For HTTP/2, which neither the server nor the client of registries speaks. Loading takes node:tls with it.
  'node:http2',
  // For a schema in a file, while that of this API comes from its routes.
  'yaml',
  // For names of media types without a slash.
  'mime-db',
  // For requests without a socket, as in tests.
  'light-my-request',
];
const EMPTY = '\0empty';

/**
 * Modules that share one file with everything that they import. A module that several files need is in the first one.
 * Node.js spends more time finding and linking many small files than loading the code in them.
 */
const TOGETHER = {
  version: ['commands/version.js'],
  settings: ['check-config', 'completion', 'explain', 'help'].map((command) => `commands/${command}.js`),
  healthcheck: ['commands/healthcheck.js'],
  save: ['commands/save.js'],
};

const withoutUnused: Plugin = {
  name: 'without-unused',
  resolveId: (name) => (UNUSED.includes(name) ? EMPTY : null),
  load: (id) => (id === EMPTY ? 'module.exports = { constants: {} };' : null),
};

/** Modules look for files beside them, while all chunks are at the top of the folder. */
const pathsAsBefore: Plugin = {
  name: 'paths-as-before',
  transform(code, id) {
    if (!id.startsWith(dist) || !code.includes('import.meta.url')) return null;
    const path = `./${relative(dist, id)}`;
    return code.replaceAll('import.meta.url', `new URL('${path}', import.meta.url).href`);
  },
};

const bundle = await rolldown({
  input: join(dist, 'main.js'),
  platform: 'node',
  external: SEPARATE,
  plugins: [withoutUnused, pathsAsBefore],
  logLevel: 'warn',
});
const { output } = await bundle.write({
  dir: dist,
  format: 'cjs',
  entryFileNames: '[name].cjs',
  chunkFileNames: 'chunk-[name]-[hash].cjs',
  codeSplitting: {
    groups: Object.entries(TOGETHER).map(([name, paths]) => ({
      name,
      test: (id: string) => paths.includes(relative(dist, id)),
    })),
  },
  comments: false,
});
await bundle.close();

const names = new Set(output.map(({ name }) => name));
const missing = Object.keys(TOGETHER).filter((name) => !names.has(name));
if (missing.length > 0) throw new Error(`The bundle has no file for ${missing.join(', ')}.`);

// Node.js keeps the source in memory, with two bytes a character unless it is all ASCII.
for (const { fileName } of output) {
  const path = join(dist, fileName);
  const code = readFileSync(path, 'utf8');
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  // A function encloses the script, where a line for the shell would be a mistake.
  writeFileSync(path, code.replace(/^#!.*/, '').replaceAll(/[\u0080-\uffff]/g, escaped));
}

const modules = output.flatMap((file) => (file.type === 'chunk' ? file.moduleIds : []));
const packages = modules.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []);
const licences = [...new Set(packages)].sort().map(licenceOf);
writeFileSync(join(dist, 'THIRD-PARTY-LICENSES'), licences.join(`\n${'-'.repeat(80)}\n\n`));

/** The name, the version and the license of a package. */
function licenceOf(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const texts = readdirSync(folder).filter((file) => /^(?:licen[cs]e|notice|copying)/i.test(file));
  return `${name} ${version} (${license})\n\n${texts.map((file) => readFileSync(join(folder, file), 'utf8')).join('\n')}`;
}

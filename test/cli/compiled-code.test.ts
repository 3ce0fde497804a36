import assert from 'node:assert/strict';
import { chmod, lchown, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { runOrThrow } from '../support/process.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '..', '..');
const program = join(root, 'bin', 'dockerproxy.js');

async function start(home: string, variables: NodeJS.ProcessEnv = {}): Promise<string> {
  const env = { PATH: process.env.PATH, HOME: home, ...variables };
  return (await runOrThrow(process.execPath, [program, '--version'], { env })).stdout;
}

suite('compiled code', { timeout: 120_000 }, () => {
  test('is stored for the next start, readable by its user alone', async () => {
    await using home = await temporaryFolder();
    await start(home.path);
    const folder = join(home.path, '.cache', 'dockerproxy-code');
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    assert.equal((await readdir(folder)).length, 1);
    assert.match(await start(home.path), /^\d/);
  });

  test('is stored in XDG_CACHE_HOME', async () => {
    await using home = await temporaryFolder();
    await start(home.path, { XDG_CACHE_HOME: join(home.path, 'cache') });
    assert.equal((await readdir(join(home.path, 'cache', 'dockerproxy-code'))).length, 1);
  });

  test('is stored behind a symbolic link, as systemd creates for a dynamic user', async () => {
    await using home = await temporaryFolder();
    const target = join(home.path, 'private');
    await mkdir(join(home.path, '.cache'));
    await mkdir(target, { mode: 0o700 });
    await symlink(target, join(home.path, '.cache', 'dockerproxy-code'));
    // systemd's link belongs to root, and its target to the dynamic user.
    if (process.getuid?.() === 0) await lchown(join(home.path, '.cache', 'dockerproxy-code'), 1, 1);
    await start(home.path);
    assert.equal((await readdir(target)).length, 1);
  });

  test('is not stored in a folder that others can change', async () => {
    await using home = await temporaryFolder();
    const folder = join(home.path, '.cache', 'dockerproxy-code');
    await mkdir(folder, { recursive: true });
    await chmod(folder, 0o777);
    assert.match(await start(home.path), /^\d/);
    assert.deepEqual(await readdir(folder), []);
  });

  test('is optional: the program starts without a writable folder', async () => {
    await using home = await temporaryFolder();
    await writeFile(join(home.path, '.cache'), 'a file');
    assert.match(await start(home.path), /^\d/);
  });
});

const CHUNK = 'chunk-greeting-1a2b3c4d.cjs';

/** A bundle of two scripts, and the folder for its compiled code. */
interface Bundle extends AsyncDisposable {
  run(argument?: string, options?: readonly string[]): Promise<string>;
  /** The path of the only kept file. */
  kept(): Promise<string>;
  code: string;
}

async function makeBundle(): Promise<Bundle> {
  const folder: TemporaryFolder = await temporaryFolder();
  const [main, code] = [join(folder.path, 'main.cjs'), join(folder.path, 'code')];
  await mkdir(code);
  await writeFile(main, `const { greet } = require('./${CHUNK}'); greet(process.argv.at(-1));`);
  const surroundings = JSON.stringify(join(root, 'src', 'commands', 'surroundings.ts'));
  await writeFile(
    join(folder.path, CHUNK),
    `const { join } = require('node:path');
    const later = (name) => ${JSON.stringify(Array.from({ length: 200 }, () => 'bytes'))}.length + join('bye', name);
    exports.greet = async (name) => {
      (await import(${surroundings})).prepareTransfers();
      console.log(name === 'leaver' ? later(name) : join('hello', name));
    };`,
  );
  const script = `const { runBundle } = await import(${JSON.stringify(join(root, 'bin', 'run-bundle.js'))});
    runBundle(${JSON.stringify(main)}, ${JSON.stringify(code)});`;
  return {
    code,
    run: async (argument = 'world', options = []) =>
      (
        await runOrThrow(process.execPath, [
          ...options,
          '--input-type=module',
          '--eval',
          script,
          '--',
          argument,
        ])
      ).stdout,
    async kept() {
      const [version = ''] = await readdir(code);
      assert.deepEqual(await readdir(join(code, version)), [CHUNK]);
      return join(code, version, CHUNK);
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

suite('compiled code of the bundle', { timeout: 120_000 }, () => {
  test('is stored for scripts with a hash, and accepted at the next start', async () => {
    await using bundle = await makeBundle();
    assert.equal(await bundle.run(), 'hello/world\n');
    const first = await stat(await bundle.kept());
    assert.equal(first.mode & 0o777, 0o600);
    assert.equal(await bundle.run(), 'hello/world\n');
    // A process that cannot use the code replaces the file.
    assert.equal((await stat(await bundle.kept())).ino, first.ino);
  });

  test('is stored separately for other options of Node.js', async () => {
    await using bundle = await makeBundle();
    await bundle.run();
    const first = await stat(await bundle.kept());
    await bundle.run('world', ['--max-semi-space-size=8']);
    assert.equal((await readdir(bundle.code)).length, 2);
    await bundle.run();
    const again = await Promise.all(
      (await readdir(bundle.code)).map(async (name) => (await stat(join(bundle.code, name, CHUNK))).ino),
    );
    assert.ok(again.includes(first.ino), 'it was not replaced');
  });

  test('has the functions that ran', async () => {
    await using short = await makeBundle();
    await short.run();
    await using long = await makeBundle();
    assert.equal(await long.run('leaver'), '200bye/leaver\n');
    const sizes = await Promise.all(
      [short, long].map(async (bundle) => (await stat(await bundle.kept())).size),
    );
    assert.ok((sizes[0] ?? 0) < (sizes[1] ?? 0), sizes.join());
  });

  test('is replaced if it is damaged', async () => {
    await using bundle = await makeBundle();
    await bundle.run();
    const path = await bundle.kept();
    const good = await readFile(path);
    const zeroed = Buffer.from(good).fill(0, good.length / 2, good.length / 2 + 500);
    for (const damaged of [good.subarray(0, 100), Buffer.alloc(0), zeroed]) {
      await writeFile(path, damaged);
      assert.equal(await bundle.run(), 'hello/world\n');
      const mended = await readFile(path);
      assert.equal(mended.length, good.length);
      assert.notDeepEqual(mended, damaged);
    }
  });
});

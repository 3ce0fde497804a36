import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { run, spawnUntil } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '..', '..');
const hook = join(root, 'test', 'support', 'loaded-modules.ts');
const program = join(root, 'bin', 'dockerproxy.js');
/** Node's WebSocket and fetch, which any import of node:http loads, except a type import. */
const FETCH = 'NativeModule internal/deps/undici/undici';

/** Returns the modules that a command loads: its own, and those of packages and Node.js. */
async function modulesOf(...args: string[]) {
  await using home = await temporaryFolder();
  await run(process.execPath, ['--import', hook, program, ...args], {
    env: environmentIn(home.path),
    cwd: home.path,
  });
  const [file = ''] = (await readdir(home.path)).filter((name) => name.endsWith('.json'));
  return await loadedIn(home.path, Number.parseInt(file, 10));
}

function environmentIn(home: string) {
  return {
    ...{ PATH: process.env.PATH, HOME: home, DOCKER_CONFIG: home },
    ...{ DOCKERPROXY_CACHE_DIR: home, DOCKERPROXY_STATE_DIR: home, LOADED_MODULES: home },
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
  };
}

async function loadedIn(folder: string, pid: number) {
  const all = JSON.parse(await readFile(join(folder, `${pid}.json`), 'utf8')) as string[];
  const packageOf = (path: string) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1];
  return {
    files: all.filter((path) => path.startsWith(root)),
    packages: new Set(all.flatMap((path) => packageOf(path) ?? [])),
    builtins: new Set(all.filter((name) => name.startsWith('NativeModule '))),
  };
}

suite('a command loads only the modules it needs', { timeout: 120_000 }, () => {
  test('--version: only its own', async () => {
    const { files, packages } = await modulesOf('--version');
    assert.ok(files.length < 10, files.join('\n'));
    assert.deepEqual([...packages], []);
  });

  test('--help and check-config: only those of the settings', async () => {
    for (const command of ['--help', 'check-config']) {
      const { files, packages, builtins } = await modulesOf(command);
      assert.ok(files.length < 75, files.join('\n'));
      assert.deepEqual(
        [...packages].filter((name) => !['ipaddr.js', 'smol-toml'].includes(name)),
        [],
      );
      assert.equal(builtins.has('NativeModule tls') || builtins.has('NativeModule http'), false, command);
    }
  });

  test('healthcheck: no fetch', async () => {
    const { files, builtins } = await modulesOf('healthcheck', '--port', '1');
    assert.ok(files.length < 60, files.join('\n'));
    assert.ok(builtins.has('NativeModule http'));
    assert.equal(builtins.has(FETCH), false);
  });

  test('save: no server, no engine, no Redis, no colors, no fetch', async () => {
    const { files, packages, builtins } = await modulesOf('save', '127.0.0.1:1/none');
    assert.ok(
      files.some((path) => path.endsWith('undici/lib/dispatcher/agent.js')),
      'a client',
    );
    assert.ok(files.length < 340, `${files.length}`);
    for (const name of [
      'fastify',
      'typebox',
      'prom-client',
      'dockerode',
      'ioredis',
      'greenlock',
      'pino-pretty',
    ])
      assert.equal(packages.has(name), false, name);
    assert.equal(
      files.some((path) => path.includes('undici/lib/web/')),
      false,
    );
    assert.equal(builtins.has(FETCH), false);
    // Only credential helpers and prompts need them.
    for (const name of ['child_process', 'readline/promises'])
      assert.equal(builtins.has(`NativeModule ${name}`), false, name);
  });

  test('serve: no engine, no Redis, no ACME, no fetch; its primary: no server', async () => {
    for (const workers of [1, 2]) {
      await using home = await temporaryFolder();
      const args = ['--host', '127.0.0.1', '--port', '0', '--workers', `${workers}`];
      const server = await spawnUntil(
        process.execPath,
        ['--import', hook, program, ...args],
        ({ stdout }) => stdout().includes(' is listening on '),
        { env: environmentIn(home.path) },
      );
      await server.stop();
      const { packages, builtins } = await loadedIn(home.path, server.pid);
      assert.equal(packages.has('fastify'), workers === 1);
      for (const name of ['dockerode', 'ioredis', 'greenlock', '@root/acme', 'typebox'])
        assert.equal(packages.has(name), false, name);
      assert.equal(builtins.has(FETCH), false);
    }
  });
});

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { skipUnless } from '../support/packages.ts';
import { type RunResult, run } from '../support/process.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { standardImages } from '../support/standard-images.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '..', '..');
const hook = join(root, 'test', 'support', 'other-platform.ts');
const program = join(root, 'bin', 'dockerproxy.js');

for (const platform of ['darwin', 'win32'])
  suite(`the commands on ${platform}`, { timeout: 300_000 }, () => {
    const command = (home: string, ...args: string[]): Promise<RunResult> =>
      run(process.execPath, ['--import', hook, program, ...args], {
        env: {
          ...{ PATH: process.env.PATH, HOME: home, DOCKER_CONFIG: home, PLATFORM: platform },
          NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
        },
        cwd: home,
      });

    for (const args of [['--version'], ['help'], ['help', 'save'], ['completion', 'zsh'], ['check-config']])
      test(`${args.join(' ')} needs nothing of Linux`, async () => {
        await using home = await temporaryFolder();
        const { code, stdout, stderr } = await command(home.path, ...args);
        assert.deepEqual([code, stderr], [0, '']);
        assert.notEqual(stdout, '');
      });

    suite('with a registry', { skip: skipUnless('docker-registry') }, () => {
      let registry: Registry;
      before(async () => {
        registry = await startRegistry();
        await standardImages(registry);
      });
      after(() => registry[Symbol.asyncDispose]());

      test('save, ls, and cat need nothing of Linux, and the cache serves a second save', async () => {
        await using home = await temporaryFolder();
        const image = `${registry.host}/library/busybox`;
        const settings = ['--insecure-registries', registry.host];
        for (const file of ['one.tar', 'two.tar']) {
          const saved = await command(home.path, 'save', image, '-o', file, ...settings);
          assert.equal(saved.code, 0, saved.stderr);
        }
        const [one, two] = await Promise.all(
          ['one.tar', 'two.tar'].map((name) => readFile(join(home.path, name))),
        );
        assert.deepEqual(one, two);
        assert.ok(one?.includes('manifest.json'));
        const listed = await command(home.path, 'ls', image, '/bin', ...settings);
        assert.deepEqual([listed.code, listed.stdout.includes('/bin/busybox')], [0, true], listed.stderr);
        const printed = await command(home.path, 'cat', image, '/bin/busybox', ...settings);
        assert.deepEqual([printed.code, printed.stdout.startsWith('\x7fELF')], [0, true], printed.stderr);
      });
    });
  });

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { skipUnless } from '../support/packages.ts';
import { run, runOrThrow } from '../support/process.ts';

const deploy = join(import.meta.dirname, '..', '..', 'deploy');
const install = (...args: string[]) => run('sh', [join(deploy, 'install.sh'), ...args]);

suite('install.sh', { timeout: 60_000 }, () => {
  test('shellcheck has nothing to say', { skip: skipUnless('shellcheck') }, async () => {
    const scripts = ['install.sh', 'release.sh', 'systemd/dockerproxy'].map((name) => join(deploy, name));
    assert.equal((await runOrThrow('shellcheck', ['--shell=sh', ...scripts])).stdout, '');
  });

  test('--help tells what there is', async () => {
    const { code, stdout } = await install('--help');
    assert.equal(code, 0);
    for (const option of ['--domain', '--email', '--staging', '--uninstall', '--keep-data', '--dry-run']) {
      assert.match(stdout, new RegExp(`^ *(?:Usage: install\\.sh.*|)\\[?${option}`, 'm'));
    }
  });

  for (const [args, sentence] of [
    [['--colour'], /--colour: there is no such option/],
    [['--domain'], /--domain: a value is missing/],
    [['--domain', 'a.example"; rm', '--email', 'a@b.example'], /--domain: a\.example"; rm is none/],
    [['--domain', 'a.example'], /--domain needs --email/],
  ] as const) {
    test(`${args.join(' ')} is a mistake`, async () => {
      const { code, stderr } = await install(...args, '--dry-run');
      assert.equal(code, 1);
      assert.match(stderr, sentence);
    });
  }

  test('--uninstall can keep what cannot be had again', { skip: skipUnless('systemd') }, async () => {
    const kept = /\/(?:etc|var\/lib|var\/cache)\/dockerproxy/;
    assert.doesNotMatch((await install('--uninstall', '--keep-data', '--dry-run')).stdout, kept);
  });

  test('what it puts into the settings are lines of the example', async () => {
    const example = await readFile(join(deploy, 'dockerproxy.example.toml'), 'utf8');
    for (const name of ['domains', 'acme_email', 'acme_staging']) {
      assert.match(example, new RegExp(`^# ${name} = `, 'm'));
    }
  });
});

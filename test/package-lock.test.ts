import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { suite, test } from 'node:test';
import { run } from './support/process.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const root = join(import.meta.dirname, '..');
const readJson = (path: string) => JSON.parse(readFileSync(join(root, path), 'utf8'));

interface Package {
  readonly resolved?: string;
  readonly link?: boolean;
  readonly hasInstallScript?: boolean;
}

suite('the lockfile', () => {
  const packages = Object.entries<Package>(readJson('package-lock.json').packages);
  const pathsOf = (is: (found: Package) => boolean | undefined) =>
    packages.filter(([, found]) => is(found)).map(([path]) => path);

  test('has no package that compiles or runs a script on install', () => {
    assert.deepEqual(
      pathsOf(({ hasInstallScript }) => hasInstallScript),
      ['node_modules/@root/acme'],
    );
    // This script only asks for donations.
    assert.deepEqual(readJson('package.json').allowScripts, { '@root/acme': false });
  });

  test('replaces each unused package that another package loads with a stub', () => {
    const standIns = readdirSync(join(root, 'vendor')).map((folder) => `vendor/${folder}`);
    const links = packages.filter(([, { link }]) => link);
    assert.deepEqual(links.map(([, { resolved }]) => resolved).sort(), standIns.sort());
    const names = links.map(([path]) => path.slice('node_modules/'.length));
    const others = packages.filter(([path]) => names.some((name) => path.endsWith(`/node_modules/${name}`)));
    assert.deepEqual(others, []);
  });

  test('names no registry, so that npm asks the one that is configured', () => {
    assert.deepEqual(
      pathsOf(({ resolved, link }) => resolved !== undefined && !link),
      [],
    );
  });

  test('overrides nothing: npm 9.2.0 cannot read an override that is a path', () => {
    assert.equal(readJson('package.json').overrides, undefined);
  });
});

suite('the setup of a clone', () => {
  /** Runs it where `npm ci` is a stand-in that ends well. */
  const setUp = async (ci: string, node = process.execPath) => {
    await using folder = await temporaryFolder();
    const bin = join(folder.path, 'bin');
    mkdirSync(bin);
    symlinkSync(node, join(bin, 'node'));
    const npm = `#!/bin/sh\necho "$1" >>npm.log\n[ "$1" != ci ] || { ${ci}; }\n`;
    writeFileSync(join(bin, 'npm'), npm, { mode: 0o755 });
    writeFileSync(join(folder.path, 'package-lock.json'), '{}');
    utimesSync(join(folder.path, 'package-lock.json'), 1, 1);
    const { setup } = readJson('package.json').scripts;
    const env = { PATH: [bin, process.env.PATH].join(delimiter) };
    const once = () => run('/bin/sh', ['-c', setup], { cwd: folder.path, env });
    const runs = [await once(), await once()];
    const called = readFileSync(join(folder.path, 'npm.log'), 'utf8')
      .split('\n')
      .filter((what) => what === 'ci');
    return { runs, installations: called.length };
  };
  const installs = 'mkdir -p node_modules && touch node_modules/.package-lock.json';
  const incomplete = /^DockerProxy: npm did not install all packages\. /;

  test('installs once', async () => {
    const { runs, installations } = await setUp(installs);
    assert.deepEqual(runs, Array(2).fill({ code: 0, stdout: '', stderr: '' }));
    assert.equal(installations, 1);
  });

  test('fails where npm ends well and installs nothing, as npm 10.8 does without its registry', async () => {
    const { runs, installations } = await setUp('true');
    for (const { code, stderr } of runs) {
      assert.equal(code, 1);
      assert.match(stderr, incomplete);
    }
    assert.equal(installations, 2);
  });

  test('fails where the bundled Node.js is missing, which npm takes for optional', async () => {
    await using folder = await temporaryFolder();
    const old = join(folder.path, 'node');
    // Node.js 20, for all that the setup asks of it.
    writeFileSync(old, `#!/bin/sh\nexec '${process.execPath}' -e "process.exitCode = 1"\n`, { mode: 0o755 });
    const { runs, installations } = await setUp(installs, old);
    for (const { code, stderr } of runs) {
      assert.equal(code, 1);
      assert.match(stderr, incomplete);
    }
    assert.equal(installations, 2);
  });
});

suite('the check before packages are installed', () => {
  const check = (agent: string | undefined) => {
    const { npm_config_user_agent: _own, ...env } = process.env;
    return run(process.execPath, [join(root, 'deploy', 'check-npm.cjs')], {
      env: agent === undefined ? env : { ...env, npm_config_user_agent: agent },
    });
  };

  for (const agent of [
    ...[
      'npm/9.2.0 node/v20.19.2 linux x64',
      'npm/10.8.2 node/v20.20.2',
      'npm/11.19.1 node/v24.21.0 linux arm64',
    ],
    ...['yarn/1.22.22 npm/? node/v22.1.0 linux x64', undefined],
  ]) {
    test(`accepts ${agent ?? 'a Node.js without npm'}`, async () => {
      assert.deepEqual(await check(agent), { code: 0, stdout: '', stderr: '' });
    });
  }

  for (const [agent, reason] of [
    ['npm/8.19.4 node/v18.20.8 linux x64', /^DockerProxy: npm 8\.19\.4 is too old to install DockerProxy\. /],
    ['npm/6.14.4 node/v10.19.0 linux x64', /^DockerProxy: npm 6\.14\.4 is too old to install DockerProxy\. /],
    [
      'npm/9.2.0 node/v16.20.2 linux x64',
      /^DockerProxy: Node\.js 16\.20\.2 is too old to install DockerProxy\. /,
    ],
  ] as const) {
    test(`refuses ${agent} and says what to install`, async () => {
      const { code, stderr } = await check(agent);
      assert.equal(code, 1);
      assert.match(stderr, reason);
      assert.match(
        stderr,
        / Install Node\.js 20 or later with its npm \(\S+\), or use a release of DockerProxy/,
      );
      assert.equal(stderr.trim().split('\n').length, 1);
    });
  }

  test('accepts Node.js 18, which distributions still have, and warns about its end of life', async () => {
    const { code, stderr } = await check('npm/9.2.0 node/v18.20.4 linux x64');
    assert.equal(code, 0);
    assert.match(
      stderr,
      /^DockerProxy: Node\.js 18\.20\.4 has reached its end of life\. .*Install Node\.js 20/,
    );
  });
});

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { suite, test } from 'node:test';
import { skipUnless } from '../support/packages.ts';
import { run, runOrThrow } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '..', '..');
const deploy = join(root, 'deploy');
const install = (...args: string[]) => run('sh', [join(deploy, 'install.sh'), ...args]);

/** Lists the files below a folder. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

suite('install.sh', { timeout: 600_000 }, () => {
  test('shellcheck has nothing to say', { skip: skipUnless('shellcheck') }, async () => {
    const maintainer = ['preinst', 'postinst', 'prerm', 'postrm'].map((name) => `debian/${name}`);
    const scripts = ['install.sh', 'release.sh', 'systemd/dockerproxy', ...maintainer].map((name) =>
      join(deploy, name),
    );
    assert.equal((await runOrThrow('shellcheck', ['--shell=sh', ...scripts])).stdout, '');
  });

  test('--help lists the commands', async () => {
    const { code, stdout } = await install('--help');
    assert.equal(code, 0);
    for (const option of ['--domain', '--email', '--staging', '--uninstall', '--keep-data', '--dry-run']) {
      assert.match(stdout, new RegExp(`^ *(?:Usage: install\\.sh.*|)\\[?${option}`, 'm'));
    }
  });

  for (const [args, sentence] of [
    [['--colour'], /unknown option --colour/],
    [['--domain'], /--domain: a value is missing/],
    [
      ['--domain', 'a.example"; rm', '--email', 'a@b.example'],
      /--domain: a\.example"; rm has invalid characters/,
    ],
    [['--domain', 'a.example'], /--domain needs --email/],
  ] as const) {
    test(`${args.join(' ')} is a mistake`, async () => {
      const { code, stderr } = await install(...args, '--dry-run');
      assert.equal(code, 1);
      assert.match(stderr, sentence);
    });
  }

  test('an npm that is too old is refused before anything else is done', {
    skip: skipUnless('systemd'),
  }, async () => {
    await using folder = await temporaryFolder();
    for (const part of ['package.json', 'package-lock.json', 'deploy']) {
      await cp(join(root, part), join(folder.path, part), { recursive: true });
    }
    const env = { ...process.env, npm_config_user_agent: 'npm/8.5.1 node/v12.22.9 linux x64' };
    const { code, stdout, stderr } = await run(
      'sh',
      [join(folder.path, 'deploy', 'install.sh'), '--dry-run'],
      { env },
    );
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^DockerProxy: npm 8\.5\.1 is too old to install DockerProxy\. Install Node\.js 20 or later/,
    );
    assert.match(stderr, /^install\.sh: this npm cannot install the packages; see the advice above\.$/m);
    assert.equal(stdout, '');
  });

  test('no package runs a script of its own where npm installs it', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const files = ['README.md', 'deploy', 'docs', 'bin'].flatMap((name) => {
      const path = join(root, name);
      return name.endsWith('.md') ? [path] : filesBelow(path);
    });
    const texts = files.map((path) => readFileSync(path, 'utf8'));
    const installs = [...texts, ...Object.values(scripts)].flatMap(
      (text) => text.match(/\bnpm (?:ci|clean-install|i|install|exec)\b.*|\bnpx .*/g) ?? [],
    );
    assert.equal(installs.length, 5, installs.join('\n'));
    for (const line of installs) assert.match(line, / --ignore-scripts /);
  });

  test('--uninstall can keep irreplaceable files', { skip: skipUnless('systemd') }, async () => {
    const kept = /\/(?:etc|var\/lib|var\/cache)\/dockerproxy/;
    assert.doesNotMatch((await install('--uninstall', '--keep-data', '--dry-run')).stdout, kept);
  });

  test('its release has all files that its documents and units name', () => {
    const partsOf = (script: string): string[] =>
      (/^\s*for part in (.*); do$/m.exec(readFileSync(join(deploy, script), 'utf8'))?.[1] ?? '').split(' ');
    const parts = partsOf('install.sh');
    assert.deepEqual(partsOf('release.sh'), parts);
    const isTaken = (path: string): boolean => parts.includes(relative(root, path).split('/')[0] ?? '');
    const documents = parts.flatMap((part) =>
      part.endsWith('.md') ? part : ['deploy', 'docs'].includes(part) ? documentsOf(part) : [],
    );
    const links = documents.flatMap((document) => {
      const text = readFileSync(join(root, document), 'utf8');
      const found = text.matchAll(/\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)|src="(?!https?:)([^"]+)"/g);
      return [...found].map(([, link = '', source = link]) => join(root, dirname(document), source));
    });
    const units = readdirSync(join(deploy, 'systemd')).flatMap((unit) => {
      const text = readFileSync(join(deploy, 'systemd', unit), 'utf8');
      return [...text.matchAll(/^Documentation=file:\/opt\/dockerproxy\/(.*)$/gm)].map(([, path = '']) =>
        join(root, path),
      );
    });
    assert.ok(links.length > 40 && units.length === 3);
    assert.deepEqual(
      [...links, ...units].filter((path) => !existsSync(path) || !isTaken(path)),
      [],
    );
  });

  test('its settings are lines of the example', async () => {
    const example = await readFile(join(deploy, 'dockerproxy.example.toml'), 'utf8');
    for (const name of ['domains', 'acme_email', 'acme_staging']) {
      assert.match(example, new RegExp(`^# ${name} = `, 'm'));
    }
  });
});

function documentsOf(folder: string): string[] {
  const files = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
  return files.filter((file) => file.endsWith('.md')).map((file) => join(folder, file));
}

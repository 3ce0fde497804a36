import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { run, runOrThrow } from '../support/process.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '..', '..');
/**
 * Versions in Debian 12 and Ubuntu 24.04, in Debian 13, and in Node.js 20. npm 9 and 10 remove the link to our Node.js.
 */
const PACKAGED = [
  { npm: '9.2.0', node: '18.20.8' },
  { npm: '9.2.0', node: '20.19.5' },
  { npm: '10.9.4', node: '20.19.5' },
];

suite('a fresh clone, by the npm that distributions have', { timeout: 900_000 }, () => {
  let folder: TemporaryFolder;

  /** The path of `npm`, and an environment with it and its Node.js first in the path. */
  const toolsOf = async ({ npm, node }: { npm: string; node: string }) => {
    const tools = join(folder.path, `npm-${npm}-node-${node}`);
    const packages = [`npm@${npm}`, `node-${process.platform}-${process.arch}@${node}`];
    const flags = ['--no-save', '--no-audit', '--no-fund', '--silent', '--prefix', tools];
    await runOrThrow('npm', ['install', ...flags, ...packages], { timeout: 180_000 });
    const bin = join(tools, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin');
    // Variables from an outer npm and the Node.js of this clone must not affect this npm.
    const own = Object.entries(process.env).filter(([name]) => !/^npm_|^INIT_CWD$/i.test(name));
    const path = (process.env.PATH ?? '').split(delimiter).filter((part) => !part.includes('node_modules'));
    return {
      npm: join(tools, 'node_modules', 'npm', 'bin', 'npm-cli.js'),
      node: join(bin, 'node'),
      env: {
        ...Object.fromEntries(own),
        PATH: [bin, join(tools, 'node_modules', '.bin'), ...path].join(delimiter),
        npm_config_cache: join(tools, 'cache'),
      },
    };
  };
  const clone = async (name: string): Promise<string> => {
    const copy = join(folder.path, name);
    await runOrThrow('git', ['clone', '--quiet', root, copy]);
    return copy;
  };

  before(async () => {
    folder = await temporaryFolder();
  });
  after(() => folder[Symbol.asyncDispose]());

  for (const versions of PACKAGED) {
    test(`installs with npm ${versions.npm} on Node.js ${versions.node}, without a compiler`, async () => {
      const { npm, node, env } = await toolsOf(versions);
      const copy = await clone(`clone-${versions.npm}-${versions.node}`);
      const flags = ['--omit=dev', '--no-audit', '--no-fund'];
      const options = { cwd: copy, env: { ...env, CC: '/bin/false', CXX: '/bin/false' }, timeout: 300_000 };
      const { code, stdout, stderr } = await run(node, [npm, 'ci', ...flags], options);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^added \d+ packages in /m);
      assert.doesNotMatch(stderr, /deprecated|gyp|ERR!/);
      const files = await readdir(join(copy, 'node_modules'), { recursive: true });
      assert.deepEqual(
        files.filter((path) => /\.node$|binding\.gyp$/.test(path)),
        [],
      );
      const started = await runOrThrow(
        join(copy, 'node_modules', '.bin', 'node'),
        ['src/main.ts', '--version'],
        {
          cwd: copy,
        },
      );
      const { version } = JSON.parse(await readFile(join(copy, 'package.json'), 'utf8'));
      assert.equal(started.stdout, `${version}\n`);
    });
  }

  test('npm start --silent on Node.js 18 warns about its end of life, installs, and leaves stdout to the command', async () => {
    const { npm, node, env } = await toolsOf({ npm: '9.2.0', node: '18.20.8' });
    const copy = await clone('started');
    const { code, stdout, stderr } = await run(node, [npm, 'start', '--silent', '--', '--version'], {
      cwd: copy,
      env,
      timeout: 300_000,
    });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^DockerProxy: Node\.js 18\.20\.8 has reached its end of life\./m);
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
  });

  test('npm start with an npm that is too old says what to install, and installs nothing', async () => {
    const { npm, node, env } = await toolsOf({ npm: '8.19.4', node: '16.20.2' });
    const copy = await clone('too-old');
    const { code, stderr } = await run(node, [npm, 'start'], { cwd: copy, env, timeout: 60_000 });
    assert.notEqual(code, 0);
    assert.match(
      stderr,
      /^DockerProxy: npm 8\.19\.4 is too old to install DockerProxy\. Install Node\.js 20/m,
    );
    assert.ok(!(await readdir(copy)).includes('node_modules'));
  });
});

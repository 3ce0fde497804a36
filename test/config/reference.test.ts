import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { loadConfig } from '../../src/config/loader.ts';
import { exampleFile, referencePage } from '../../src/config/reference.ts';
import { environmentName, fileKey, flagName, SCHEMA } from '../../src/config/schema.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '..', '..');
const load = (argv: string[]) => loadConfig({ argv, environment: {}, home: '/nowhere', isRoot: true });

suite('documents made from the schema', () => {
  for (const [path, text] of [
    ['docs/configuration.md', referencePage()],
    ['deploy/dockerproxy.example.toml', exampleFile()],
  ] as const) {
    test(`${path} is current; npm run docs writes it again`, async () => {
      assert.equal(await readFile(join(root, path), 'utf8'), text);
    });
  }

  test('the reference has every setting with all its names', () => {
    const page = referencePage();
    for (const name of Object.keys(SCHEMA)) {
      for (const written of [`--${flagName(name)}`, environmentName(name), `### ${fileKey(name)}`]) {
        assert.ok(page.includes(written), written);
      }
    }
  });

  test('the example file changes nothing as it is', async () => {
    const file = join(root, 'deploy', 'dockerproxy.example.toml');
    assert.deepEqual(load(['--config', file]), load([]));
  });

  test('each of their lines is valid without its comment sign', async () => {
    await using folder = await temporaryFolder();
    const lines = exampleFile()
      .split('\n')
      .filter((line) => /^# \w+ = /.test(line));
    assert.equal(lines.length, Object.keys(SCHEMA).length);
    const file = join(folder.path, 'all.toml');
    // A certificate comes from an authority or from files.
    const together = lines.filter((line) => !line.startsWith('# tls_'));
    await writeFile(file, together.map((line) => line.slice(2)).join('\n'));
    const config = load(['--config', file]);
    assert.deepEqual(config.domains, ['dl.example.org']);
    assert.equal(config.port, 80);
    assert.equal(config.cacheSize, 20 * 2 ** 30);
    assert.equal(config.metricsPort, undefined);
  });
});

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { loadConfig } from '../../src/config/loader.ts';
import { readTrustRules } from '../../src/config/trust-rules.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '..', '..');
const pages = ['README.md', 'deploy/README.md', ...globSync('docs/*.md', { cwd: root }).sort()];

const examples = pages.flatMap((page) =>
  [...readFileSync(join(root, page), 'utf8').matchAll(/^```toml\n([\s\S]*?)^```$/gm)].map(
    ([, toml = '']) => ({ page, toml, first: toml.replace(/\s+[=#][\s\S]*/, '') }),
  ),
);

suite('the examples of settings in README and docs', () => {
  for (const { page, toml, first } of examples) {
    test(`${page}: ${first} is accepted`, async () => {
      await using folder = await temporaryFolder();
      const file = join(folder.path, 'dockerproxy.toml');
      await writeFile(file, toml.replaceAll('/etc/dockerproxy/keys/', 'keys/'));
      if (first === '[[rules]]') {
        await writeKeys(join(folder.path, 'keys'), ['team.pub', 'release.pub']);
        assert.equal(readTrustRules({ policy: file, source: 'registry' }).length, 2);
        return;
      }
      loadConfig({ argv: ['--config', file], environment: {}, home: folder.path, isRoot: false });
    });
  }
});

async function writeKeys(folder: string, names: readonly string[]): Promise<void> {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await mkdir(folder);
  for (const name of names)
    await writeFile(join(folder, name), publicKey.export({ format: 'pem', type: 'spki' }));
}

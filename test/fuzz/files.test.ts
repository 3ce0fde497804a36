import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { extract } from 'tar-stream';
import { layoutArchive } from '../../src/archive/layout.ts';
import { CatalogueError } from '../../src/errors.ts';
import { createDockerConfigCredentials } from '../../src/registry/credentials.ts';
import { temporaryFolder } from '../support/process.ts';
import { mutatedJson } from './arbitraries.ts';
import { runs } from './budget.ts';

const auth = (text: string): string => Buffer.from(text).toString('base64');
const CONFIG = {
  auths: {
    'registry.example': { auth: auth('alice:wonderland') },
    'https://other.example/v1/': { auth: auth('bob:secret') },
    'third.example:5000': { identitytoken: 'refresh' },
  },
};

suite('whatever stands in a file', () => {
  test('Docker’s config.json: credentials go to nobody whom it does not name', async () => {
    await using folder = await temporaryFolder();
    const store = createDockerConfigCredentials(folder.path);
    // No helper is named: it would be run.
    const config = mutatedJson(CONFIG).filter((value) => !/cred/i.test(JSON.stringify(value) ?? ''));
    await fc.assert(
      fc.asyncProperty(config, fc.nat(5), async (value, cut) => {
        const text = JSON.stringify(value) ?? '';
        await writeFile(join(folder.path, 'config.json'), cut === 0 ? text.slice(0, -1) : text);
        for (const domain of ['registry.example', 'stranger.example', 'registry.example:5000']) {
          try {
            const found = await store.find(domain);
            if (found !== undefined) assert.ok(text.includes(domain), `${domain} gets what is another one’s`);
          } catch (error) {
            assert.ok(error instanceof CatalogueError && error.code === 'internal-error', `${error}`);
            assert.doesNotMatch(error.message, /wonderland|secret|refresh/);
          }
        }
      }),
      runs('dockerConfigs'),
    );
  });

  test('the names and sizes in an archive are what another reader finds there', async () => {
    const path = fc.stringMatching(/^[a-z0-9][a-z0-9./_-]{0,160}[a-z0-9]$/);
    const files = fc.uniqueArray(fc.record({ path, content: fc.uint8Array({ maxLength: 1500 }) }), {
      selector: (file) => file.path,
      minLength: 1,
      maxLength: 5,
    });
    await fc.assert(
      fc.asyncProperty(files, async (given) => {
        const bytes = layoutArchive(given).slices.map(({ content }) => content as Uint8Array);
        const found: { path: string; size: number | undefined }[] = [];
        const reader = extract();
        reader.on('entry', ({ name, size }, stream, next) => {
          found.push({ path: name, size });
          stream.once('end', next).resume();
        });
        await new Promise<void>((resolve, reject) => {
          Readable.from(bytes)
            .pipe(reader)
            .once('finish', () => resolve())
            .once('error', reject);
        });
        assert.deepEqual(
          found,
          given.map(({ path, content }) => ({ path, size: content.length })),
        );
      }),
      runs('tarNames'),
    );
  });
});

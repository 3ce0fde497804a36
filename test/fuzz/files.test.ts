import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { extract } from 'tar-stream';
import { layoutArchive } from '../../src/archive/layout.ts';
import { ServiceError } from '../../src/errors.ts';
import { createDockerConfigCredentials } from '../../src/registry/credentials.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
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

/** The folder is the only one in which programs are looked for, until it is disposed of. */
function searchPath(folder: string): AsyncDisposable {
  const before = process.env.PATH;
  process.env.PATH = folder;
  return {
    async [Symbol.asyncDispose]() {
      process.env.PATH = before;
    },
  };
}

/** Returns the helper that a config.json names for a registry, if any. */
function helperOf(
  { credHelpers, credsStore }: { credHelpers?: unknown; credsStore?: unknown },
  domain: string,
): unknown {
  const isObject = typeof credHelpers === 'object' && credHelpers !== null && !Array.isArray(credHelpers);
  const own = new Map(Object.entries(isObject ? credHelpers : {}));
  const key = [domain === 'docker.io' ? 'https://index.docker.io/v1/' : domain, domain].find((one) =>
    own.has(one),
  );
  return key === undefined ? credsStore : own.get(key);
}

suite('arbitrary files', () => {
  test('Docker’s config.json sends credentials only to the registries that it names', async () => {
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
            assert.ok(error instanceof ServiceError && error.code === 'internal-error', `${error}`);
            assert.doesNotMatch(error.message, /wonderland|secret|refresh/);
          }
        }
      }),
      runs('dockerConfigs'),
    );
  });

  test('a helper that Docker’s config.json names is asked for its own registry alone, and has a plain name', async () => {
    await using folder = await temporaryFolder();
    // The search path has no helper, so none can start.
    await using _ = searchPath(folder.path);
    const store = createDockerConfigCredentials(folder.path);
    const helper = fc.oneof(
      fc.constantFrom('absent', '', '.', '..', '../absent', 'a b', '-x', 'a;b', '$(x)', '__proto__'),
      fc.jsonValue({ maxDepth: 1 }),
    );
    const host = fc.constantFrom(
      'registry.example',
      'other.example',
      'https://index.docker.io/v1/',
      '__proto__',
    );
    const config = fc.record(
      {
        auths: fc.constant(CONFIG.auths),
        credsStore: helper,
        credHelpers: fc.oneof(fc.dictionary(host, helper, { maxKeys: 3 }), fc.jsonValue({ maxDepth: 1 })),
      },
      { requiredKeys: ['auths'] },
    );
    await fc.assert(
      fc.asyncProperty(config, fc.constantFrom('registry.example', 'docker.io'), async (value, domain) => {
        await writeFile(join(folder.path, 'config.json'), JSON.stringify(value));
        const named = helperOf(JSON.parse(JSON.stringify(value)), domain);
        const answer = store.find(domain);
        if (named === undefined || named === '') {
          assert.equal((await answer)?.kind, domain === 'docker.io' ? undefined : 'password');
          return;
        }
        // Credentials of a helper are not looked up elsewhere.
        await assert.rejects(answer, ({ code, message, cause }: ServiceError) => {
          assert.equal(code, 'internal-error');
          assert.doesNotMatch(message, /wonderland|absent/);
          const isPlain = typeof named === 'string' && /^[\w.-]+$/.test(named);
          assert.match(`${cause}`, isPlain ? /ENOENT/ : /name of a credential helper is not valid/);
          return true;
        });
      }),
      runs('credentialHelpers'),
    );
  });

  test('a credential helper’s output results in credentials, or in an error without them', async () => {
    await using folder = await temporaryFolder();
    await using _ = searchPath(folder.path);
    await writeFile(join(folder.path, 'config.json'), '{"credsStore":"ours"}');
    const [said, program] = ['said', 'docker-credential-ours'].map((name) => join(folder.path, name));
    assert.ok(said !== undefined && program !== undefined);
    await writeFile(program, `#!/bin/sh\n/bin/cat '${said}'\n`, { mode: 0o700 });
    const store = createDockerConfigCredentials(folder.path);
    const answer = fc.oneof(
      mutatedJson({ ServerURL: 'registry.example', Username: 'alice', Secret: 'wonderland' }),
      fc.constant({ Username: '<token>', Secret: 'wonderland' }),
    );
    await fc.assert(
      fc.asyncProperty(answer, fc.nat(5), async (value, cut) => {
        const json = JSON.stringify(value) ?? '';
        await writeFile(said, cut === 0 ? json.slice(0, -1) : json);
        try {
          const found = await store.find('registry.example');
          assert.ok(found?.kind === 'password' || found?.kind === 'identity-token');
          for (const text of Object.values(found)) assert.equal(typeof text, 'string');
        } catch (error) {
          assert.ok(error instanceof ServiceError && error.code === 'internal-error', `${error}`);
          assert.doesNotMatch(`${error.message}${error.cause}`, /wonderland/);
        }
      }),
      runs('helperAnswers'),
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
        reader.on('entry', ({ name, size, type }, stream, next) => {
          if (type === 'file') found.push({ path: name, size });
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

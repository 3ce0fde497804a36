import assert from 'node:assert/strict';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { ConfigError, loadConfig } from '../../src/config/loader.ts';
import { readTrustRules } from '../../src/config/trust-rules.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { createTrustPolicy, type TrustRule } from '../../src/trust/trust-policy.ts';
import { createSigner } from '../support/signatures.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** A folder with a policy and the keys `team.pub` and `keys/release.pem`. */
async function policyFolder(policy: string) {
  const folder = await temporaryFolder();
  const file = join(folder.path, 'policy.toml');
  await using signer = await createSigner();
  await copyFile(signer.publicKey, join(folder.path, 'team.pub'));
  await copyFile(signer.publicKey, join(folder.path, 'release.pem'));
  await copyFile(signer.privateKey, join(folder.path, 'private.key'));
  await writeFile(file, policy);
  return { file, path: folder.path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

function rules(...argv: string[]): readonly TrustRule[] {
  return readTrustRules(loadConfig({ argv, environment: {}, home: '/nowhere', isRoot: false }));
}

async function mistakesOf(policy: string, ...more: string[]): Promise<readonly string[]> {
  await using folder = await policyFolder(policy);
  try {
    rules('--policy', folder.file, ...more);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.mistakes.map((mistake) => mistake.replaceAll(folder.path, ''));
  }
  return [];
}

suite('the file of the policy', () => {
  test('has rules in their order, with keys by absolute or relative paths', async () => {
    assert.deepEqual(rules(), []);
    await using folder = await policyFolder('');
    await writeFile(
      folder.file,
      `[[rules]]
       images = ["busybox/x", "ghcr.io/org/**"]
       keys = ["team.pub", "${folder.path}/release.pem"]
       [[rules]]
       images = ["**"]
       require = "none"`,
    );
    const found = rules('--policy', folder.file).map(({ images, isRequired, keys }) => ({
      images: images.map(({ glob }) => glob),
      isRequired,
      keys: keys.map(({ name }) => name),
    }));
    assert.deepEqual(found, [
      { images: ['docker.io/busybox/x', 'ghcr.io/org/**'], isRequired: true, keys: ['team', 'release'] },
      { images: ['**'], isRequired: false, keys: [] },
    ]);
  });

  test("names Docker's own images as people do", async () => {
    for (const written of ['docker.io/*', 'docker.io/ngin*', 'library/*', 'library/ngin*']) {
      await using folder = await policyFolder(`[[rules]]\nimages = ["${written}"]\nkeys = ["team.pub"]`);
      const policy = createTrustPolicy(rules('--policy', folder.file));
      assert.equal(policy.ruleFor(parseReference('nginx'))?.isRequired, true, written);
      assert.equal(policy.ruleFor(parseReference('nginx/nginx')), undefined, written);
    }
  });

  test('may be empty, and be about what is only shown', async () => {
    assert.deepEqual(await mistakesOf(''), []);
    assert.deepEqual(
      await mistakesOf('[[rules]]\nimages = ["**"]\nrequire = "none"\nkeys = ["team.pub"]'),
      [],
    );
  });

  test('is refused with all mistakes at once, with the rule and the reason', async () => {
    const policy = `
      extra = 1
      [[rules]]
      images = ["busybox"]
      keys = ["team.pub", "private.key", "missing.pub"]
      [[rules]]
      images = []
      require = "love"
      key = "team.pub"
      [[rules]]
      images = ["**"]
      [[rules]]
      keys = []`;
    assert.deepEqual(await mistakesOf(policy), [
      '/policy.toml: unknown entry "extra". Supported: rules.',
      '/policy.toml: rule 1: images: entry 1, "busybox", must be a glob over registry/repository, such as docker.io/library/* or ghcr.io/**.',
      '/policy.toml: rule 1: /private.key holds a private key, which belongs to whoever signs: only its public half is for here.',
      '/policy.toml: rule 1: The file /missing.pub does not exist.',
      '/policy.toml: rule 2: unknown entry "key". Supported: images, require and keys.',
      '/policy.toml: rule 2: images names no image.',
      '/policy.toml: rule 2: require "love" must be one of signature, none.',
      '/policy.toml: rule 3: keys is missing: files of public keys, one of which has to have signed an image.',
      '/policy.toml: rule 4: images must be a list.',
      '/policy.toml: rule 4: keys names no file.',
    ]);
  });

  test('is refused with the line if it is not TOML, and if it is missing', async () => {
    assert.match((await mistakesOf('[[rules]]\nimages = [')).join(), /^\/policy\.toml: line \d: /);
    assert.match((await mistakesOf('rules = 1')).join(), /^\/policy\.toml: rules must be a list of tables/);
    assert.match((await mistakesOf('rules = [1]')).join(), /^\/policy\.toml: rule 1: images must be a list/);
    assert.throws(() => rules('--policy', '/nowhere/policy'), {
      message: /^The file \/nowhere\/policy does not exist\.$/,
    });
  });

  test('is as the example has it, but for the keys that only an operator has', async () => {
    const example = await readFile(join(import.meta.dirname, '../../deploy/policy.example.toml'), 'utf8');
    const own = example.replaceAll(/"[^"]*\.pub"/g, '"team.pub"').replaceAll(/^# (?=\[\[|images|keys)/gm, '');
    await using folder = await policyFolder(own);
    const found = rules('--policy', folder.file);
    assert.deepEqual(
      found.map(({ isRequired, keys }) => [isRequired, keys.length]),
      [
        [false, 1],
        [true, 2],
        [true, 1],
      ],
    );
  });

  test('is not for an engine, which says so', async () => {
    assert.match((await mistakesOf('', '--source', 'engine')).join(), /^--policy is for --source registry/);
  });
});

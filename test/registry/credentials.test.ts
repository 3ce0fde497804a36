import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type Credentials, createDockerConfigCredentials } from '../../src/registry/credentials.ts';
import { runOrThrow } from '../support/process.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

const CREDENTIALS = new URL('../../src/registry/credentials.ts', import.meta.url).href;

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const auth = (name: string, secret: string): { auth: string } => ({ auth: base64(`${name}:${secret}`) });
const password = (username: string, secret: string): Credentials => ({
  kind: 'password',
  username,
  password: secret,
});

const UNREADABLE = {
  code: 'internal-error',
  status: 500,
  // Clients get this message, so it contains neither the path nor the content of the file.
  message: 'The credentials that are configured here cannot be read.',
};

async function find(config: unknown, domain: string): Promise<Credentials | undefined> {
  await using folder = await temporaryFolder();
  const text = typeof config === 'string' ? config : JSON.stringify(config);
  await writeFile(join(folder.path, 'config.json'), text);
  return await createDockerConfigCredentials(folder.path).find(domain);
}

suite('credentials in Docker’s config.json', () => {
  const entries: [title: string, entry: unknown, expected: Credentials | undefined][] = [
    ['auth', auth('alice', 'secret'), password('alice', 'secret')],
    ['auth with colons in the password', auth('alice', 'a:b:c'), password('alice', 'a:b:c')],
    ['auth padded with NUL', auth('alice', 'secret\0\0'), password('alice', 'secret')],
    ['auth beyond ASCII', auth('älice', 'pässwörd'), password('älice', 'pässwörd')],
    ['auth with a line break', auth('alice', 'a\nb'), password('alice', 'a\nb')],
    ['auth without a password', auth('alice', ''), password('alice', '')],
    ['username and password', { username: 'alice', password: 'secret' }, password('alice', 'secret')],
    ['identitytoken', { identitytoken: 'refresh' }, { kind: 'identity-token', token: 'refresh' }],
    [
      'identitytoken beside auth',
      { ...auth('<token>', ''), identitytoken: 'refresh' },
      { kind: 'identity-token', token: 'refresh' },
    ],
    ['registrytoken', { registrytoken: 'bearer' }, { kind: 'registry-token', token: 'bearer' }],
    ['an empty identitytoken', { ...auth('alice', 'x'), identitytoken: '' }, password('alice', 'x')],
    ['an empty entry, as docker login leaves beside a store', {}, undefined],
    ['auth without a colon', { auth: base64('alice') }, undefined],
    ['auth that is no base64', { auth: '***' }, undefined],
    ['auth that is no string', { auth: 5 }, undefined],
    ['an entry that is no object', 'alice:secret', undefined],
  ];
  for (const [title, entry, expected] of entries) {
    test(title, async () =>
      assert.deepEqual(await find({ auths: { 'registry.test': entry } }, 'registry.test'), expected),
    );
  }

  const keys: [key: string, domain: string, matches: boolean][] = [
    ['example.com', 'example.com', true],
    ['https://example.com', 'example.com', true],
    ['https://example.com/v1/', 'example.com', true],
    ['http://example.com/v2/', 'example.com', true],
    ['example.com/', 'example.com', true],
    ['example.com:5000', 'example.com:5000', true],
    ['[::1]:5000', '[::1]:5000', true],
    ['https://index.docker.io/v1/', 'docker.io', true],
    ['index.docker.io', 'docker.io', true],
    ['example.com', 'evil-example.com', false],
    ['example.com', 'example.com.evil.test', false],
    ['example.com', 'sub.example.com', false],
    ['sub.example.com', 'example.com', false],
    ['example.com', 'example.com:5000', false],
    ['example.com:5000', 'example.com', false],
    ['example.com:5000', 'example.com:5001', false],
    ['https://evil.test/example.com', 'example.com', false],
    ['https://evil.test/?https://example.com', 'example.com', false],
    ['*', 'example.com', false],
    ['', 'example.com', false],
    ['https://index.docker.io/v1/', 'index.docker.io.evil.test', false],
  ];
  for (const [key, domain, matches] of keys) {
    test(`${JSON.stringify(key)} ${matches ? 'is' : 'is not'} for ${domain}`, async () => {
      const config = { auths: { [key]: auth('alice', 'secret') } };
      assert.deepEqual(await find(config, domain), matches ? password('alice', 'secret') : undefined);
    });
  }

  test('for several registries are sent to their own registry only', async () => {
    const auths = { 'a.test': auth('a', '1'), 'b.test': auth('b', '2'), 'b.test:443': auth('c', '3') };
    assert.deepEqual(await find({ auths }, 'a.test'), password('a', '1'));
    assert.deepEqual(await find({ auths }, 'b.test'), password('b', '2'));
    assert.deepEqual(await find({ auths }, 'b.test:443'), password('c', '3'));
  });

  test('the exact key comes before an old URL of the same host', async () => {
    const auths = { 'https://a.test/v1/': auth('old', '1'), 'a.test': auth('new', '2') };
    assert.deepEqual(await find({ auths }, 'a.test'), password('new', '2'));
  });

  for (const config of [{}, { auths: {} }, { auths: [] }, { auths: null, credHelpers: 'x' }]) {
    test(`${JSON.stringify(config)} has no credentials`, async () =>
      assert.equal(await find(config, 'registry.test'), undefined));
  }

  test('no config.json means no credentials', async () => {
    await using folder = await temporaryFolder();
    const store = createDockerConfigCredentials(join(folder.path, 'absent'));
    assert.equal(await store.find('registry.test'), undefined);
  });

  for (const config of ['', '{', '[]', 'null', '"x"', '{"auths":{}}trailing', '\ufeff\u0000']) {
    test(`a config.json of ${JSON.stringify(config)} is an error, not a stranger’s pull`, () =>
      assert.rejects(find(config, 'registry.test'), UNREADABLE));
  }

  test('a config.json that cannot be read is an error', async () => {
    await using folder = await temporaryFolder();
    await mkdir(join(folder.path, 'config.json'));
    await assert.rejects(createDockerConfigCredentials(folder.path).find('registry.test'), UNREADABLE);
  });

  test('a login while the server runs counts at once', async () => {
    await using folder = await temporaryFolder();
    const store = createDockerConfigCredentials(folder.path);
    assert.equal(await store.find('registry.test'), undefined);
    const config = { auths: { 'registry.test': auth('alice', 'secret') } };
    await writeFile(join(folder.path, 'config.json'), JSON.stringify(config));
    assert.deepEqual(await store.find('registry.test'), password('alice', 'secret'));
  });

  test('a registry with the name of an object’s method has no credentials', async () => {
    assert.equal(await find({ credHelpers: { 'a.test': 'x' } }, 'toString'), undefined);
  });
});

/** A credential helper that answers by registry, and records its input. */
const HELPER = `#!/bin/sh
IFS= read -r key || true
printf '%s %s\\n' "$1" "$key" >> "$(dirname "$0")/asked"
case "$key" in
  password.test) printf '{"ServerURL":"%s","Username":"bob","Secret":"pa:ss"}' "$key" ;;
  https://index.docker.io/v1/) printf '{"Username":"hub","Secret":"secret"}' ;;
  token.test) printf '{"Username":"<token>","Secret":"refresh"}' ;;
  none.test) echo 'credentials not found in native keychain'; exit 1 ;;
  locked.test) echo 'the keychain is locked'; exit 1 ;;
  garbage.test) echo 'not JSON' ;;
  partial.test) printf '{"Username":"bob"}' ;;
esac
`;

suite('credentials from a helper', () => {
  let folder: TemporaryFolder;
  const outerPath = process.env.PATH;

  before(async () => {
    folder = await temporaryFolder();
    const install = (name: string, script: string) =>
      writeFile(join(folder.path, `docker-credential-${name}`), script, { mode: 0o755 });
    await install('test', HELPER);
    await install('a b', HELPER);
    await install('deaf', '#!/bin/sh\nexit 3\n');
    process.env.PATH = `${folder.path}${delimiter}${outerPath}`;
  });

  after(async () => {
    process.env.PATH = outerPath;
    await folder[Symbol.asyncDispose]();
  });

  const asked = async (): Promise<string[]> =>
    (await readFile(join(folder.path, 'asked'), 'utf8').catch(() => '')).trimEnd().split('\n');

  test('credsStore is asked with get and the registry’s name', async () => {
    const found = await find({ credsStore: 'test', auths: { 'password.test': {} } }, 'password.test');
    assert.deepEqual(found, password('bob', 'pa:ss'));
    assert.equal((await asked()).at(-1), 'get password.test');
  });

  test('credHelpers decides for its registry, whatever credsStore is', async () => {
    const config = { credsStore: 'absent', credHelpers: { 'password.test': 'test' } };
    assert.deepEqual(await find(config, 'password.test'), password('bob', 'pa:ss'));
  });

  test('the user <token> has an identity token', async () => {
    assert.deepEqual(await find({ credsStore: 'test' }, 'token.test'), {
      kind: 'identity-token',
      token: 'refresh',
    });
  });

  for (const key of ['docker.io', 'https://index.docker.io/v1/']) {
    test(`Docker Hub’s helper may be listed as ${key}`, async () => {
      assert.deepEqual(
        await find({ credHelpers: { [key]: 'test' } }, 'docker.io'),
        password('hub', 'secret'),
      );
    });
  }

  test('credentials that the helper lacks are found in auths', async () => {
    const config = { credsStore: 'test', auths: { 'none.test': auth('alice', 'secret') } };
    assert.deepEqual(await find(config, 'none.test'), password('alice', 'secret'));
    assert.equal(await find({ credsStore: 'test' }, 'none.test'), undefined);
  });

  test('a helper for another registry is not asked', async () => {
    const before = await asked();
    assert.equal(await find({ credHelpers: { 'password.test': 'test' } }, 'x-password.test'), undefined);
    assert.deepEqual(await asked(), before);
  });

  for (const domain of ['locked.test', 'garbage.test', 'partial.test', 'silent.test']) {
    test(`a helper that fails for ${domain} is an error, not a stranger’s pull`, () =>
      assert.rejects(find({ credsStore: 'test' }, domain), UNREADABLE));
  }

  test('a helper that exits without reading is one too', () =>
    assert.rejects(find({ credsStore: 'deaf' }, 'password.test'), UNREADABLE));

  /** Runs in a separate process. Prints the code of the error, then whether a timer remains. */
  async function askAbsentHelper(): Promise<string[]> {
    await using own = await temporaryFolder();
    await writeFile(join(own.path, 'config.json'), '{"credsStore":"absent"}');
    const script = `
      import { createDockerConfigCredentials } from ${JSON.stringify(CREDENTIALS)};
      const { code } = await createDockerConfigCredentials(${JSON.stringify(own.path)})
        .find('a.test').catch((error) => error);
      process.stdout.write([code, process.getActiveResourcesInfo().includes('Timeout')].join());
      process.exit();
    `;
    return (await runOrThrow(process.execPath, ['--input-type=module', '--eval', script])).stdout.split(',');
  }

  test('a helper that is not installed is one too', async () =>
    assert.equal((await askAbsentHelper())[0], 'internal-error'));

  test('a helper that is not installed leaves nothing that keeps the process alive', async () =>
    assert.equal((await askAbsentHelper())[1], 'false'));

  for (const name of ['../test', '/bin/sh', 'a b', 'test;id', 5, {}]) {
    test(`a helper named ${JSON.stringify(name)} is never run`, () =>
      assert.rejects(find({ credsStore: name }, 'password.test'), UNREADABLE));
  }
});

import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { temporaryCertificate } from '../../../src/tls/self-signed-provider.ts';
import { createDiskStore } from '../../../src/tls/stores/certificate-store.ts';
import { createDiskChallenges } from '../../../src/tls/stores/challenge-store.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const AUTHORITY = 'https://ca.example/directory';
const OTHER = 'https://ca.example/staging';

async function openStore() {
  const folder = await temporaryFolder();
  const damaged: string[] = [];
  const path = join(folder.path, 'tls');
  const open = () =>
    createDiskStore({ folder: path, onDamage: (file, { message }) => damaged.push(`${file}: ${message}`) });
  return { store: open(), open, path, damaged, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

suite('the certificate store', () => {
  test('keeps certificates, accounts, attempts, and failures by authority, over a restart', async () => {
    await using made = await openStore();
    const { store, open } = made;
    assert.equal(await store.certificate(AUTHORITY), undefined);
    assert.equal(await store.account(AUTHORITY), undefined);
    assert.deepEqual(await store.attempts(AUTHORITY), []);
    const certificate = temporaryCertificate(['a.example'], Date.now());
    await store.putCertificate(AUTHORITY, certificate);
    await store.putAccount(AUTHORITY, { key: { kty: 'EC', d: 'x' }, url: 'https://ca.example/account/1' });
    await store.putAttempts(AUTHORITY, [1, 2]);
    const failure = {
      ...{ at: 1, code: 'ca-slow', message: 'It failed.', since: undefined },
      waits: { [AUTHORITY]: 2 },
    };
    await store.putFailure(AUTHORITY, failure);

    const again = open();
    assert.deepEqual((await again.certificate(AUTHORITY))?.fingerprint, certificate.fingerprint);
    assert.deepEqual(await again.account(AUTHORITY), {
      key: { kty: 'EC', d: 'x' },
      url: 'https://ca.example/account/1',
    });
    assert.deepEqual(await again.attempts(AUTHORITY), [1, 2]);
    assert.deepEqual(await again.failure(AUTHORITY), failure);
    assert.equal(await again.certificate(OTHER), undefined);
    assert.equal(await again.account(OTHER), undefined);
  });

  test('is for its user alone, and leaves nothing half-written', async () => {
    await using made = await openStore();
    await made.store.putCertificate(AUTHORITY, temporaryCertificate(['a.example'], Date.now()));
    await made.store.putAccount(AUTHORITY, { key: { d: 'x' }, url: undefined });
    for (const name of await readdir(made.path, { recursive: true })) {
      const info = await stat(join(made.path, name));
      assert.equal(info.mode & 0o777, info.isDirectory() ? 0o700 : 0o600, name);
      assert.ok(info.isDirectory() || /\.(?:pem|json)$/.test(name), name);
    }
    assert.equal((await stat(made.path)).mode & 0o777, 0o700);
  });

  for (const [what, content] of [
    ['empty', ''],
    ['cut off', '-----BEGIN PRIVATE KEY-----\nMIGH'],
    ['something else', '{"key": 5}'],
  ] as const) {
    test(`a file that is ${what} is renamed and reported`, async () => {
      await using made = await openStore();
      await made.store.putCertificate(AUTHORITY, temporaryCertificate(['a.example'], Date.now()));
      await made.store.putAccount(AUTHORITY, { key: { d: 'x' }, url: undefined });
      await made.store.putAttempts(AUTHORITY, [1]);
      const files = (await readdir(made.path, { recursive: true })).filter((name) =>
        name.includes('.example'),
      );
      assert.equal(files.length, 3);
      for (const name of files) await writeFile(join(made.path, name), content);
      assert.equal(await made.store.certificate(AUTHORITY), undefined);
      assert.equal(await made.store.account(AUTHORITY), undefined);
      assert.deepEqual(await made.store.attempts(AUTHORITY), []);
      assert.equal(made.damaged.length, 3);
      for (const name of files)
        assert.equal(await readFile(join(made.path, `${name}.damaged`), 'utf8'), content);
    });
  }

  test('a file that cannot be read is an error, and no reason to order again', async () => {
    await using made = await openStore();
    await made.store.putAttempts(AUTHORITY, [1]);
    const [name = ''] = await readdir(join(made.path, 'attempts'));
    await mkdir(join(made.path, 'certificates', name.replace('.json', '.pem')), { recursive: true });
    await assert.rejects(made.store.certificate(AUTHORITY), { code: 'EISDIR' });
  });
});

suite('the challenge store', () => {
  test('gives what was set, until it is removed', async () => {
    await using folder = await temporaryFolder();
    const challenges = createDiskChallenges(join(folder.path, 'challenges'));
    assert.equal(await challenges.get('token-1_A'), undefined);
    await challenges.set('token-1_A', 'token-1_A.thumbprint');
    assert.equal(
      await createDiskChallenges(join(folder.path, 'challenges')).get('token-1_A'),
      'token-1_A.thumbprint',
    );
    await challenges.remove('token-1_A');
    assert.equal(await challenges.get('token-1_A'), undefined);
  });

  for (const token of ['../secret', '..', '.', '', 'a/b', 'a\0', 'a'.repeat(300), '%2e%2e']) {
    test(`${JSON.stringify(token.slice(0, 20))} names no file`, async () => {
      await using folder = await temporaryFolder();
      await writeFile(join(folder.path, 'secret'), 'secret');
      const challenges = createDiskChallenges(join(folder.path, 'challenges'));
      await challenges.set('a', 'b');
      assert.equal(await challenges.get(token), undefined);
      assert.throws(() => challenges.set(token, 'x'), /not one of RFC 8555/);
    });
  }

  test('files of attempts are removed after an hour', async () => {
    await using folder = await temporaryFolder();
    const challenges = createDiskChallenges(folder.path);
    await challenges.set('old', 'x');
    await challenges.removeAbandoned(Date.now() + 3_500_000);
    assert.equal(await challenges.get('old'), 'x');
    await challenges.removeAbandoned(Date.now() + 3_700_000);
    assert.equal(await challenges.get('old'), undefined);
  });
});

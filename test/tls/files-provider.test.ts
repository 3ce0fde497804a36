import assert from 'node:assert/strict';
import { rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { Certificate } from '../../src/tls/certificate.ts';
import type { CertificateFailure } from '../../src/tls/certificate-provider.ts';
import { createFilesProvider } from '../../src/tls/files-provider.ts';
import { temporaryCertificate } from '../../src/tls/self-signed-provider.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

async function startProvider() {
  const folder = await temporaryFolder();
  const [certFile, keyFile] = [join(folder.path, 'fullchain.pem'), join(folder.path, 'privkey.pem')];
  const put = async (certificate: Pick<Certificate, 'cert' | 'key'>): Promise<void> => {
    await writeFile(certFile, certificate.cert);
    await writeFile(keyFile, certificate.key);
  };
  const first = temporaryCertificate(['a.example'], Date.now());
  await put(first);
  const kept: CertificateFailure[] = [];
  const used: string[] = [];
  const open = () =>
    createFilesProvider({
      ...{ certFile, keyFile, now: Date.now },
      log: { reloaded: () => {}, kept: (failure) => kept.push(failure) },
    });
  const provider = await open();
  provider.start(({ fingerprint }) => used.push(fingerprint));
  const dispose = async (): Promise<void> => {
    await provider.close();
    await folder[Symbol.asyncDispose]();
  };
  return {
    provider,
    open,
    first,
    put,
    used,
    kept,
    certFile,
    keyFile,
    folder: folder.path,
    [Symbol.asyncDispose]: dispose,
  };
}

const next = (): Certificate => temporaryCertificate(['b.example'], Date.now());

suite('a certificate of files', { timeout: 600_000 }, () => {
  test('is reloaded when the files change, also behind links that move', async () => {
    await using made = await startProvider();
    const next = temporaryCertificate(['b.example'], Date.now());
    await writeFile(join(made.folder, 'cert2.pem'), next.cert);
    await writeFile(join(made.folder, 'key2.pem'), next.key);
    for (const [target, path] of [
      ['cert2.pem', made.certFile],
      ['key2.pem', made.keyFile],
    ] as const) {
      await symlink(target, `${path}.new`);
      await rename(`${path}.new`, path);
    }
    await waitFor(() => made.used.includes(next.fingerprint), { what: 'the new certificate' });
    assert.equal(made.provider.status().lastFailure, undefined);
    assert.equal(made.provider.status().notAfter, next.notAfter);
  });

  test('that is unusable changes nothing and is reported until it is repaired', async () => {
    await using made = await startProvider();
    const next = temporaryCertificate(['b.example'], Date.now());
    await writeFile(made.certFile, next.cert);
    await made.provider.reload();
    assert.match(made.kept[0]?.message ?? '', /does not belong to its key/);
    assert.equal(made.provider.status().lastFailure?.code, 'files-unusable');
    assert.equal(made.provider.status().notAfter, made.first.notAfter);
    assert.deepEqual(made.used, []);
    await writeFile(made.keyFile, next.key);
    await made.provider.reload();
    assert.deepEqual(made.used, [next.fingerprint]);
    assert.equal(made.provider.status().lastFailure, undefined);
  });

  for (const [what, follows] of [
    ['is cut off', next().cert.slice(0, 300)],
    ['has garbage', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
  ] as const) {
    test(`a chain that ${what} changes nothing, and prevents a start`, async () => {
      await using made = await startProvider();
      const { cert, key } = next();
      await made.put({ cert: `${cert}${follows}`, key });
      await made.provider.reload();
      const { lastFailure, notAfter } = made.provider.status();
      assert.match(lastFailure?.message ?? '', /^The certificate in .* cannot be served with its chain: /);
      assert.equal(notAfter, made.first.notAfter);
      assert.deepEqual(made.used, []);
      await assert.rejects(made.open(), /cannot be served with its chain/);
    });
  }

  test('a key that is too short for TLS changes nothing', { skip: skipUnless('openssl') }, async () => {
    await using made = await startProvider();
    await runOrThrow('openssl', [
      ...['req', '-x509', '-newkey', 'rsa:1024', '-nodes', '-subj', '/CN=a.example'],
      ...['-keyout', made.keyFile, '-out', made.certFile],
    ]);
    await made.provider.reload();
    assert.match(made.provider.status().lastFailure?.message ?? '', /key too small/);
    assert.deepEqual(made.used, []);
  });

  test('one that cannot be shown is tried again', async () => {
    await using made = await startProvider();
    const fresh = next();
    await made.put(fresh);
    made.provider.start(() => {
      throw new Error('There is no such curve.');
    });
    await made.provider.reload();
    assert.equal(made.provider.status().lastFailure?.message, 'There is no such curve.');
    made.provider.start(({ fingerprint }) => made.used.push(fingerprint));
    await made.provider.reload();
    assert.deepEqual(made.used, [fresh.fingerprint]);
  });

  test('the same certificate again is not logged', async () => {
    await using made = await startProvider();
    await made.put(made.first);
    await made.provider.reload();
    assert.deepEqual(made.used, []);
  });

  test('the same certificate with another chain is shown again', async () => {
    await using made = await startProvider();
    await made.put({ ...made.first, cert: `${made.first.cert}${next().cert}` });
    await made.provider.reload();
    assert.deepEqual(made.used, [made.first.fingerprint]);
    await made.provider.reload();
    assert.equal(made.used.length, 1);
  });

  test('an end that has come shows', async () => {
    await using made = await startProvider();
    const over = temporaryCertificate(['a.example'], Date.now() - 400 * 86_400_000);
    await made.put(over);
    await made.provider.reload();
    assert.equal(made.provider.status().state, 'expired');
  });
});

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { readRevocation, revokedSerials, withRevocation } from '../../../src/tls/acme/revocation.ts';
import { temporaryCertificate } from '../../../src/tls/self-signed-provider.ts';
import { skipUnless } from '../../support/packages.ts';
import { runOrThrow } from '../../support/process.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

/** An authority of openssl with two certificates, of which the first can be revoked, and a server for its list. */
async function startAuthority() {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const path = (name: string): string => join(folder.path, name);
  const server = createServer(async (_request, response) => response.end(await readFile(path('list'))));
  stack.use(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  await mkdir(path('issued'));
  await writeFile(path('index.txt'), '');
  await writeFile(path('serial'), 'C0FFEE');
  await writeFile(
    path('config'),
    `[ca]\ndefault_ca = own\n[own]\ndatabase = ${path('index.txt')}\nserial = ${path('serial')}
new_certs_dir = ${path('issued')}\ncertificate = ${path('ca.pem')}\nprivate_key = ${path('ca-key.pem')}
default_md = sha384\ndefault_days = 1\ndefault_crl_days = 1\npolicy = any\nx509_extensions = leaf
[any]\ncommonName = supplied\n[leaf]\ncrlDistributionPoints = URI:http://127.0.0.1:${port}/list\n`,
  );
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-nodes'];
  const ca = ['ca', '-batch', '-config', path('config')];
  await runOrThrow('openssl', [
    ...['req', '-x509', ...newKey, '-subj', '/CN=test authority', '-days', '1'],
    ...['-out', path('ca.pem'), '-keyout', path('ca-key.pem')],
  ]);
  const issue = async (name: string): Promise<string> => {
    await runOrThrow('openssl', [
      ...[
        'req',
        ...newKey,
        '-subj',
        `/CN=${name}`,
        '-keyout',
        path(`${name}-key`),
        '-out',
        path(`${name}-request`),
      ],
    ]);
    await runOrThrow('openssl', [...ca, '-notext', '-in', path(`${name}-request`), '-out', path(name)]);
    return `${await readFile(path(name), 'utf8')}${await readFile(path('ca.pem'), 'utf8')}`;
  };
  const publish = async (): Promise<void> => {
    await runOrThrow('openssl', [...ca, '-gencrl', '-out', path('list.pem')]);
    await runOrThrow('openssl', ['crl', '-in', path('list.pem'), '-outform', 'DER', '-out', path('list')]);
  };
  const certificates = [await issue('first'), await issue('second')];
  await publish();
  const owned = stack.move();
  return {
    certificates,
    list: () => readFile(path('list')),
    async revoke() {
      await runOrThrow('openssl', [...ca, '-revoke', path('first')]);
      await publish();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

suite('the revocation list', { skip: skipUnless('openssl') }, () => {
  test('that a certificate names tells whether it is revoked', async () => {
    await using authority = await startAuthority();
    const read = (): Promise<(boolean | undefined)[]> =>
      Promise.all(
        authority.certificates.map((cert) => readRevocation({ cert }, new AbortController().signal)),
      );
    assert.deepEqual(await read(), [false, false]);
    await authority.revoke();
    assert.deepEqual(await read(), [true, false]);
  });

  test('counts only with the signature of the issuer, and whole', async () => {
    await using authority = await startAuthority();
    await authority.revoke();
    const list = await authority.list();
    const [, pem = ''] = authority.certificates[0]?.split(/(?=-----BEGIN)/) ?? [];
    assert.equal(revokedSerials(list, new X509Certificate(pem)).size, 1);
    const other = new X509Certificate(temporaryCertificate(['ca.example'], Date.now()).cert);
    assert.throws(() => revokedSerials(list, other), /has not signed/);
    const changed = Buffer.from(list);
    changed[40] = (changed[40] ?? 0) ^ 1;
    for (const broken of [changed, list.subarray(0, 100), Buffer.alloc(0)]) {
      assert.throws(() => revokedSerials(broken, new X509Certificate(pem)), /revocation list/);
    }
  });

  test('renews a revoked certificate at once, and otherwise leaves the suggestion of the authority', async () => {
    const { cert } = temporaryCertificate(['dl.example.org'], Date.now());
    const { signal } = new AbortController();
    const info = { start: 1, end: 2, retryAfter: 3 };
    const window = (isRevoked: () => Promise<boolean | undefined>) =>
      withRevocation(async () => info, isRevoked)({ cert }, signal);
    assert.deepEqual(await window(async () => true), { start: 0, end: 0, retryAfter: undefined });
    for (const isRevoked of [
      async () => false,
      async () => undefined,
      () => Promise.reject(new Error('no list')),
    ]) {
      assert.deepEqual(await window(isRevoked), info);
    }
  });

  test('is not asked for without its address', async () => {
    const { cert } = temporaryCertificate(['dl.example.org'], Date.now());
    assert.equal(await readRevocation({ cert }, new AbortController().signal), undefined);
  });
});

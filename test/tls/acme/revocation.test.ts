import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import {
  createRevocationReader,
  type DownloadNamed,
  withRevocation,
} from '../../../src/tls/acme/revocation.ts';
import { isListed } from '../../../src/tls/acme/revocation-list.ts';
import { temporaryCertificate } from '../../../src/tls/self-signed-provider.ts';
import { skipUnless } from '../../support/packages.ts';
import { runOrThrow } from '../../support/process.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const LIST_URL = 'http://ca.example/list';
const OCSP_URL = 'http://ca.example/ocsp/';
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-nodes'];

/** The sections of the configuration that add extensions to a certificate. */
const EXTENSIONS = `[list]\ncrlDistributionPoints = URI:${LIST_URL}
[ocsp]\nauthorityInfoAccess = OCSP;URI:${OCSP_URL}
[both]\ncrlDistributionPoints = URI:${LIST_URL}\nauthorityInfoAccess = OCSP;URI:${OCSP_URL}
[responder]\nextendedKeyUsage = OCSPSigning
[server]\nextendedKeyUsage = serverAuth\n`;

/** An authority of openssl that issues and revokes certificates, and answers by list and OCSP without a network. */
async function startAuthority() {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const path = (name: string): string => join(folder.path, name);
  await mkdir(path('issued'));
  await writeFile(path('index.txt'), '');
  await writeFile(path('serial'), 'C0FFEE');
  await writeFile(
    path('config'),
    `[ca]\ndefault_ca = own\n[own]\ndatabase = ${path('index.txt')}\nserial = ${path('serial')}
new_certs_dir = ${path('issued')}\ncertificate = ${path('ca.pem')}\nprivate_key = ${path('ca-key.pem')}
default_md = sha384\ndefault_days = 1\ndefault_crl_days = 1\npolicy = any\n[any]\ncommonName = supplied
${EXTENSIONS}`,
  );
  const ca = ['ca', '-batch', '-config', path('config')];
  const selfSign = async (name: string): Promise<void> => {
    const files = ['-out', path(`${name}.pem`), '-keyout', path(`${name}-key.pem`)];
    await runOrThrow('openssl', ['req', '-x509', ...EC_KEY, '-subj', `/CN=${name}`, '-days', '1', ...files]);
  };
  await selfSign('ca');
  await selfSign('stranger');
  const revoke = async (name: string): Promise<void> => {
    await runOrThrow('openssl', [...ca, '-revoke', path(`${name}.pem`)]);
  };
  const list = async (): Promise<Buffer> => {
    await runOrThrow('openssl', [...ca, '-gencrl', '-out', path('crl.pem')]);
    await runOrThrow('openssl', ['crl', '-in', path('crl.pem'), '-outform', 'DER', '-out', path('crl')]);
    return readFile(path('crl'));
  };
  /** The names of the files that sign responses, and further arguments of openssl. */
  const responder = { signer: 'ca', args: ['-nmin', '60'] };
  const respond = async (request: Buffer): Promise<Buffer> => {
    const { signer, args } = responder;
    await writeFile(path('request'), request);
    await runOrThrow('openssl', [
      ...['ocsp', '-index', path('index.txt'), '-CA', path('ca.pem'), '-reqin', path('request')],
      ...['-rsigner', path(`${signer}.pem`), '-rkey', path(`${signer}-key.pem`)],
      ...['-respout', path('response'), ...args],
    ]);
    return readFile(path('response'));
  };
  const owned = stack.move();
  return {
    responder,
    revoke,
    list,
    respond,
    /** Issues a certificate with the extensions of a section, and returns its chain. */
    async issue(section: string): Promise<string> {
      const files = ['-keyout', path(`${section}-key.pem`), '-out', path('csr')];
      await runOrThrow('openssl', ['req', ...EC_KEY, '-subj', `/CN=${section}`, ...files]);
      const out = ['-in', path('csr'), '-out', path(`${section}.pem`), '-extensions', section];
      await runOrThrow('openssl', [...ca, '-notext', ...out]);
      return `${await readFile(path(`${section}.pem`), 'utf8')}${await readFile(path('ca.pem'), 'utf8')}`;
    },
    forget: () => writeFile(path('index.txt'), ''),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

type Authority = Awaited<ReturnType<typeof startAuthority>>;

/** Reads revocation from an authority, and counts its downloads. */
function readerOf(authority: Authority, clock = Date.now) {
  const downloads: string[] = [];
  const answers = { ocsp: (response: Buffer): Buffer => response };
  const download: DownloadNamed = async (url) => {
    if (url === LIST_URL) {
      downloads.push('list');
      return authority.list();
    }
    assert.ok(url.startsWith(OCSP_URL), url);
    downloads.push('ocsp');
    const request = decodeURIComponent(url.slice(OCSP_URL.length));
    return answers.ocsp(await authority.respond(Buffer.from(request, 'base64')));
  };
  const read = createRevocationReader({ download, now: clock });
  return {
    downloads,
    answers,
    isRevoked: (cert: string) => read({ cert }, new AbortController().signal),
  };
}

suite('the revocation list', { skip: skipUnless('openssl') }, () => {
  test('that a certificate names tells whether it is revoked', async () => {
    await using authority = await startAuthority();
    const { isRevoked } = readerOf(authority);
    const cert = await authority.issue('list');
    assert.equal(await isRevoked(cert), false);
    await authority.revoke('list');
    assert.equal(await isRevoked(cert), true);
  });

  test('counts only with the signature of the issuer, and whole', async () => {
    await using authority = await startAuthority();
    const [leaf = '', pem = ''] = (await authority.issue('list')).split(/(?=-----BEGIN)/);
    await authority.revoke('list');
    const [certificate, issuer] = [new X509Certificate(leaf), new X509Certificate(pem)];
    const list = await authority.list();
    assert.equal(isListed(list, certificate, issuer), true);
    const other = new X509Certificate(temporaryCertificate(['ca.example'], Date.now()).cert);
    assert.throws(() => isListed(list, certificate, other), /has not signed/);
    const changed = Buffer.from(list);
    changed[40] = (changed[40] ?? 0) ^ 1;
    for (const broken of [changed, list.subarray(0, 100), Buffer.alloc(0)]) {
      assert.throws(() => isListed(broken, certificate, issuer), /revocation list/);
    }
  });
});

suite('an OCSP responder', { skip: skipUnless('openssl') }, () => {
  test('tells whether the certificate that names it is revoked, so that no list is downloaded', async () => {
    await using authority = await startAuthority();
    const { isRevoked, downloads } = readerOf(authority);
    const cert = await authority.issue('both');
    assert.equal(await isRevoked(cert), false);
    await authority.revoke('both');
    assert.equal(await isRevoked(cert), true);
    assert.deepEqual(downloads, ['ocsp', 'ocsp']);
  });

  test('may sign by a certificate that the issuer has issued for this purpose, and by no other', async () => {
    await using authority = await startAuthority();
    const { isRevoked } = readerOf(authority);
    const cert = await authority.issue('ocsp');
    await authority.issue('responder');
    await authority.issue('server');
    await authority.revoke('ocsp');
    const bySigner = async (signer: string): Promise<boolean | undefined> => {
      authority.responder.signer = signer;
      return isRevoked(cert);
    };
    assert.equal(await bySigner('responder'), true);
    assert.equal(await bySigner('server'), undefined);
    assert.equal(await bySigner('stranger'), undefined);
  });

  test('counts only with a fresh answer', async () => {
    await using authority = await startAuthority();
    let ahead = 0;
    const { isRevoked } = readerOf(authority, () => Date.now() + ahead);
    const cert = await authority.issue('ocsp');
    for (const [args, fresh, stale] of [
      [['-nmin', '60'], 60 * MINUTE_MS, 66 * MINUTE_MS],
      [[], DAY_MS, DAY_MS + 6 * MINUTE_MS],
    ] as const) {
      authority.responder.args = [...args];
      ahead = fresh;
      assert.equal(await isRevoked(cert), false, `${args}`);
      ahead = stale;
      assert.equal(await isRevoked(cert), undefined, `${args}`);
      // An answer from the future.
      ahead = -6 * MINUTE_MS;
      assert.equal(await isRevoked(cert), undefined, `${args}`);
    }
  });

  test('that has no answer about the certificate makes the list decide', async () => {
    await using authority = await startAuthority();
    const { isRevoked, downloads, answers } = readerOf(authority);
    const [named, other] = [await authority.issue('both'), await authority.issue('ocsp')];
    await authority.revoke('both');
    const about = (cert: string): Promise<boolean | undefined> => {
      downloads.length = 0;
      return isRevoked(cert);
    };
    let reply: Buffer = Buffer.alloc(0);
    answers.ocsp = (response) => {
      reply = response;
      return response;
    };
    assert.equal(await about(other), false);
    const aboutOther = reply;
    const tryLater = Buffer.from('30030a0103', 'hex');
    for (const broken of [
      aboutOther,
      tryLater,
      reply.subarray(0, 100),
      Buffer.from('<html>'),
      Buffer.alloc(0),
    ]) {
      answers.ocsp = () => broken;
      assert.equal(await about(named), true);
      assert.deepEqual(downloads, ['ocsp', 'list']);
    }
    answers.ocsp = (response) => response;
    authority.responder.args = ['-badsig'];
    assert.equal(await about(other), undefined);
    authority.responder.args = [];
    answers.ocsp = () => {
      throw new Error('the responder does not respond');
    };
    assert.equal(await about(named), true);
    answers.ocsp = (response) => response;
    await authority.forget();
    assert.equal(await about(other), undefined, 'its answer is "unknown"');
    assert.equal(await about(named), false);
    assert.deepEqual(downloads, ['ocsp', 'list']);
  });
});

suite('revocation', () => {
  test('renews a certificate at once, and otherwise leaves the suggestion of the authority', async () => {
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

  test('is unknown if the certificate names no address', async () => {
    const { cert } = temporaryCertificate(['dl.example.org'], Date.now());
    const read = createRevocationReader({ download: () => assert.fail('it was asked'), now: Date.now });
    assert.equal(await read({ cert: `${cert}${cert}` }, new AbortController().signal), undefined);
  });
});

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { isFor, parseCertificate } from '../../src/tls/certificate.ts';
import { makeSelfSigned } from '../../src/tls/self-signed.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const NOW = Date.UTC(2026, 10, 24);
const names = ['dl.example.org', 'localhost', '127.0.0.1', '::1', '2001:db8::5:6'];

suite('a self-signed certificate', () => {
  test('is for its names and no other, and for its time', () => {
    const certificate = makeSelfSigned({ names, notBefore: NOW, notAfter: NOW + 86_400_000 });
    assert.equal(isFor(certificate, names), true);
    assert.equal(isFor(certificate, ['other.example.org']), false);
    assert.equal(isFor(certificate, ['127.0.0.2']), false);
    assert.equal(certificate.notBefore, NOW);
    assert.equal(certificate.notAfter, NOW + 86_400_000);
    const x509 = new X509Certificate(certificate.cert);
    assert.equal(x509.verify(x509.publicKey), true);
    assert.equal(x509.ca, false);
  });

  test('each has a serial number and a key of its own', () => {
    const make = () => makeSelfSigned({ names, notBefore: NOW, notAfter: NOW + 1000 });
    const [one, other] = [new X509Certificate(make().cert), new X509Certificate(make().cert)];
    assert.notEqual(one.serialNumber, other.serialNumber);
    assert.notEqual(
      one.publicKey.export({ type: 'spki', format: 'pem' }),
      other.publicKey.export({ type: 'spki', format: 'pem' }),
    );
  });

  test('years from 2050 on, many names and long ones fit', () => {
    const many = Array.from({ length: 100 }, (_, at) => `${'a'.repeat(60)}.${at}.example.org`);
    const notAfter = Date.UTC(2061, 0, 1);
    const certificate = makeSelfSigned({ names: many, notBefore: NOW, notAfter });
    assert.equal(certificate.notAfter, notAfter);
    assert.equal(isFor(certificate, many), true);
  });

  test('openssl takes it by the letter of RFC 5280', { skip: skipUnless('openssl') }, async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'cert.pem');
    const now = Date.now();
    await writeFile(file, makeSelfSigned({ names, notBefore: now - 1000, notAfter: now + 60_000 }).cert);
    await runOrThrow('openssl', ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', file, file]);
    const { stdout } = await runOrThrow('openssl', ['x509', '-in', file, '-noout', '-text']);
    assert.match(stdout, /Version: 3[\s\S]*ecdsa-with-SHA256[\s\S]*prime256v1[\s\S]*CA:FALSE/);
    assert.match(stdout, /IP Address:2001:DB8:0:0:0:0:5:6/);
  });
});

suite('certificates as they are read', () => {
  const { cert, key } = makeSelfSigned({ names, notBefore: NOW, notAfter: NOW + 1000 });
  const other = makeSelfSigned({ names, notBefore: NOW, notAfter: NOW + 1000 });
  const broken: [string, string, string, RegExp][] = [
    ['an empty certificate', '', key, /is not a certificate in PEM/],
    ['a certificate that was cut off', cert.slice(0, 200), key, /is not a certificate in PEM/],
    ['no key', cert, '', /has a key that is encrypted or not in PEM/],
    ['the key of another one', cert, other.key, /does not belong to its key/],
  ];
  for (const [what, badCert, badKey, rule] of broken) {
    test(`${what} is refused`, () => assert.throws(() => parseCertificate(badCert, badKey), rule));
  }
});

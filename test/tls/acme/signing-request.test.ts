import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { suite, test } from 'node:test';
import { makeSigningRequest } from '../../../src/tls/acme/signing-request.ts';
import { skipUnless } from '../../support/packages.ts';
import { runOrThrow } from '../../support/process.ts';

suite('a certificate signing request', { skip: skipUnless('openssl') }, () => {
  test('has an empty subject and all names, long ones among them, and is signed by its key', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const names = ['dl.example.org', `${'a'.repeat(63)}.${'b'.repeat(63)}.example.org`];
    const request = makeSigningRequest(privateKey, names);
    const args = ['req', '-inform', 'DER', '-verify', '-noout', '-text'];
    const { stdout, stderr } = await runOrThrow('openssl', args, { input: request });
    assert.match(`${stdout}${stderr}`, /verify OK/);
    assert.match(stdout, /^ *Subject: *$/m);
    assert.match(stdout, /Public-Key: \(256 bit\)/);
    assert.ok(stdout.includes(names.map((name) => `DNS:${name}`).join(', ')), stdout);
  });
});

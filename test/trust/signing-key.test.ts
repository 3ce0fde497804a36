import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { parseSigningKey } from '../../src/trust/signing-key.ts';
import { createSigner, type SigningAlgorithm } from '../support/signatures.ts';

const MESSAGE = Buffer.from('what is signed');

suite('public keys', () => {
  const kinds: [SigningAlgorithm, hashes: readonly (string | undefined)[]][] = [
    ['P-256', ['sha256']],
    ['P-384', ['sha384', 'sha256']],
    ['P-521', ['sha512', 'sha256']],
    ['RSA-2048', ['sha256']],
    ['Ed25519', [undefined]],
  ];
  for (const [algorithm, hashes] of kinds) {
    test(`with ${algorithm} verify their own signatures, and no others`, async () => {
      await using signer = await createSigner('team', algorithm);
      const key = parseSigningKey('team', signer.pem);
      assert.match(key.fingerprint, /^[0-9a-f]{64}$/);
      for (const hash of hashes) {
        const signature = Buffer.from(await signer.sign(MESSAGE, hash), 'base64');
        assert.equal(key.verifies(MESSAGE, signature), true, hash);
        assert.equal(key.verifies(Buffer.from('what is not'), signature), false, hash);
        assert.equal(key.verifies(MESSAGE, signature.subarray(1)), false, hash);
        assert.equal(key.verifies(MESSAGE, Buffer.alloc(0)), false, hash);
      }
    });
  }

  test('with Ed25519 refuse the prehashed variant, which Node.js does not support', () => {
    // https://www.rfc-editor.org/rfc/rfc8032#section-7.3
    const x = Buffer.from('ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf', 'hex');
    const signature = Buffer.from(
      '98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41' +
        '31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406',
      'hex',
    );
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: x.toString('base64url') };
    const pem = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
    assert.equal(parseSigningKey('team', `${pem}`).verifies(Buffer.from('abc'), signature), false);
  });

  test('are one key, however they are called and wrapped', async () => {
    await using signer = await createSigner();
    const { fingerprint } = parseSigningKey('a', signer.pem);
    assert.equal(parseSigningKey('b', `A comment.\n${signer.pem}\n`).fingerprint, fingerprint);
  });

  test('that are invalid or too weak are refused with a sentence', async () => {
    await using signer = await createSigner();
    await using weak = await createSigner('weak', 'RSA-1024');
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
    const pem = (label: string, content = 'AAAA'): string =>
      `-----BEGIN ${label}-----\n${content}\n-----END ${label}-----\n`;
    const refusals: [text: string, rule: RegExp][] = [
      [readFileSync(signer.privateKey, 'utf8'), /^holds a private key/],
      [pem('ENCRYPTED SIGSTORE PRIVATE KEY'), /^holds a private key/],
      [weak.pem, /^holds an RSA key of 1024 bits; 2048 are the least$/],
      [publicKey.export({ type: 'spki', format: 'pem' }).toString(), /^must hold a key of ECDSA \(P-256/],
      [signer.pem + signer.pem, /^must hold one public key in PEM/],
      [pem('CERTIFICATE'), /^must hold one public key in PEM/],
      ['ssh-ed25519 AAAA', /^must hold one public key in PEM/],
      ['', /^must hold one public key in PEM/],
      [pem('PUBLIC KEY'), /^holds a public key that cannot be read$/],
    ];
    for (const [text, message] of refusals) assert.throws(() => parseSigningKey('x', text), { message });
  });
});

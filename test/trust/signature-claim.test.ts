import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { sha256 } from '../../src/oci/digest.ts';
import { type SignatureClaim, signersOf } from '../../src/trust/signature-claim.ts';
import { parseSigningKey, type SigningKey } from '../../src/trust/signing-key.ts';
import { bundleBytes, createSigner, type Signer, simpleSigning } from '../support/signatures.ts';

const DIGEST = sha256(Buffer.from('an image'));
const OTHER = sha256(Buffer.from('another image'));

suite('claims of signatures', () => {
  let team: Signer;
  let stranger: Signer;
  let keys: SigningKey[];
  const namesOf = (claim: SignatureClaim, digest = DIGEST, counted = keys): string[] =>
    signersOf(claim, digest, counted).map(({ name }) => name);
  const claimOf = (payload: Uint8Array, signature: string): SignatureClaim => ({
    kind: 'simple-signing',
    payload,
    signature,
  });

  before(async () => {
    team = await createSigner();
    stranger = await createSigner('stranger');
    keys = [
      parseSigningKey('release', (await createSigner('release')).pem),
      parseSigningKey('team', team.pem),
    ];
  });
  after(async () => {
    await team[Symbol.asyncDispose]();
    await stranger[Symbol.asyncDispose]();
  });

  test('is one of the keys that made it', async () => {
    const payload = simpleSigning(DIGEST);
    const claim = claimOf(payload, await team.sign(payload));
    assert.deepEqual(namesOf(claim), ['team']);
    assert.deepEqual(namesOf(claim, DIGEST, []), []);
    const elsewhere = simpleSigning(DIGEST, 'elsewhere.example/b');
    assert.deepEqual(
      namesOf(claimOf(elsewhere, await team.sign(elsewhere))),
      ['team'],
      'promoted from elsewhere',
    );
  });

  test('is refused for another image, another key, or other bytes', async () => {
    const payload = simpleSigning(DIGEST);
    const signature = await team.sign(payload);
    assert.deepEqual(namesOf(claimOf(payload, signature), OTHER), [], 'copied from another image');
    assert.deepEqual(
      namesOf(claimOf(simpleSigning(OTHER), signature), OTHER),
      [],
      'put before another payload',
    );
    assert.deepEqual(namesOf(claimOf(payload, await stranger.sign(payload))), [], 'made by another key');
    assert.deepEqual(
      namesOf(claimOf(Buffer.concat([payload, Buffer.from(' ')]), signature)),
      [],
      'tampered with',
    );
    for (const garbage of ['', '!', 'AAAA', `${signature}AAAA`.repeat(2), '\u0000']) {
      assert.deepEqual(namesOf(claimOf(payload, garbage)), [], garbage);
    }
    assert.deepEqual(namesOf({ kind: 'unusable' }), []);
  });

  test('is refused if the key has signed another kind of document', async () => {
    const critical = { image: { 'docker-manifest-digest': DIGEST } };
    for (const value of [
      { critical: { ...critical, type: 'atomic container signature' } },
      { critical },
      { critical: { type: 'cosign container image signature' } },
      { critical: { type: 'cosign container image signature', image: DIGEST } },
      { type: 'cosign container image signature', ...critical },
      [],
      null,
    ]) {
      const payload = Buffer.from(JSON.stringify(value));
      assert.deepEqual(namesOf(claimOf(payload, await team.sign(payload))), [], JSON.stringify(value));
    }
    const text = Buffer.from('not JSON');
    assert.deepEqual(namesOf(claimOf(text, await team.sign(text))), []);
  });

  test('can be a bundle, but an attestation is not a signature', async () => {
    const bytes = await bundleBytes(team, DIGEST);
    assert.deepEqual(namesOf({ kind: 'bundle', bytes }), ['team']);
    assert.deepEqual(namesOf({ kind: 'bundle', bytes }, OTHER), []);
    assert.deepEqual(namesOf({ kind: 'bundle', bytes: await bundleBytes(stranger, DIGEST) }), []);
    const attestation = await bundleBytes(team, DIGEST, 'https://slsa.dev/provenance/v1');
    assert.deepEqual(namesOf({ kind: 'bundle', bytes: attestation }), []);
    const body = JSON.parse(`${bytes}`) as { dsseEnvelope: { payload: string; signatures: object[] } };
    const changed = (dsseEnvelope: object): SignatureClaim => ({
      kind: 'bundle',
      bytes: Buffer.from(
        JSON.stringify({ ...body, dsseEnvelope: { ...body.dsseEnvelope, ...dsseEnvelope } }),
      ),
    });
    assert.deepEqual(namesOf(changed({ payloadType: 'text/plain' })), []);
    assert.deepEqual(namesOf(changed({ payload: Buffer.from('{}').toString('base64') })), []);
    assert.deepEqual(namesOf(changed({ signatures: [...body.dsseEnvelope.signatures, {}] })), []);
  });
});

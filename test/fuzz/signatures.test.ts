import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { sha256 } from '../../src/oci/digest.ts';
import { type SignatureClaim, signersOf } from '../../src/trust/signature-claim.ts';
import { parseSigningKey, type SigningKey } from '../../src/trust/signing-key.ts';
import { simpleSigning } from '../support/signatures.ts';
import { bytesOf, hostileText, mutatedJson } from './arbitraries.ts';
import { runs } from './budget.ts';

const DIGEST = sha256(Buffer.from('an image'));
const OTHER = sha256(Buffer.from('another image'));
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const KEY = parseSigningKey('team', publicKey.export({ type: 'spki', format: 'pem' }).toString());
/** Accepts every signature, so that the parser reads the signed content. */
const CREDULOUS: SigningKey = { name: 'credulous', fingerprint: '', verifies: () => true };

const PAYLOAD = simpleSigning(DIGEST);
const SIGNATURE = sign('sha256', PAYLOAD, privateKey).toString('base64');
const STATEMENT = {
  _type: 'https://in-toto.io/Statement/v1',
  subject: [{ digest: { sha256: DIGEST.slice('sha256:'.length) } }],
  predicateType: 'https://sigstore.dev/cosign/sign/v1',
};
const bundle = (statement: unknown): unknown => ({
  dsseEnvelope: {
    payload: Buffer.from(bytesOf(statement)).toString('base64'),
    payloadType: 'application/vnd.in-toto+json',
    signatures: [{ sig: SIGNATURE }],
  },
});

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 400 }),
  mutatedJson(JSON.parse(`${PAYLOAD}`)).map(bytesOf),
  mutatedJson(bundle(STATEMENT)).map(bytesOf),
  mutatedJson(STATEMENT).map((statement) => bytesOf(bundle(statement))),
);
const signature = fc.oneof(
  fc.constant(SIGNATURE),
  fc.base64String({ maxLength: 200 }),
  hostileText(['=', 'AAAA', SIGNATURE]),
  fc.uint8Array({ maxLength: 200 }).map((some) => Buffer.from(some).toString('base64')),
);
const claims = fc.oneof(
  fc.record({ kind: fc.constant('simple-signing' as const), payload: bytes, signature }),
  fc.record({ kind: fc.constant('bundle' as const), bytes }),
) satisfies fc.Arbitrary<SignatureClaim>;

suite('signatures', () => {
  test('from arbitrary bytes end in a verdict, and never about another image', () => {
    assert.deepEqual(
      signersOf({ kind: 'simple-signing', payload: PAYLOAD, signature: SIGNATURE }, DIGEST, [KEY]),
      [KEY],
    );
    const good = { kind: 'bundle', bytes: bytesOf(bundle(STATEMENT)) } as const;
    assert.deepEqual(signersOf(good, DIGEST, [CREDULOUS]), [CREDULOUS]);
    fc.assert(
      fc.property(claims, (claim) => {
        assert.deepEqual(signersOf(claim, OTHER, [KEY, CREDULOUS]), []);
        const own = signersOf(claim, DIGEST, [KEY]);
        const isWhole = claim.kind === 'simple-signing' && PAYLOAD.equals(claim.payload);
        assert.ok(own.length === 0 || isWhole);
        signersOf(claim, DIGEST, [CREDULOUS]);
      }),
      runs('signatures'),
    );
  });
});

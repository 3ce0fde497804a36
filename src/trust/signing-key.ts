import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';

/** A public key whose signatures count. */
export interface SigningKey {
  /** The name of the key for people. */
  readonly name: string;
  /** The fingerprint of the key: SHA-256 in hex digits. */
  readonly fingerprint: string;
  /** Checks whether the key signed some bytes; false for a malformed signature. */
  verifies(data: Uint8Array, signature: Uint8Array): boolean;
}

/**
 * The hash that cosign uses for each curve. Older versions used SHA-256 for all curves.
 *
 * @see https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
 */
const CURVES = new Map([
  ['prime256v1', ['sha256']],
  ['secp384r1', ['sha384', 'sha256']],
  ['secp521r1', ['sha512', 'sha256']],
]);
const RSA_BITS_MIN = 2048;
const LABEL = /-----BEGIN ([A-Z0-9 ]+)-----/g;

/**
 * Reads a public key as `cosign generate-key-pair` writes it: one PEM block. It is ECDSA on P-256, P-384 or P-521, RSA
 * with at least 2048 bits (PKCS #1 v1.5), or Ed25519.
 *
 * @throws Error with a message that ends the sentence "The file …"
 */
export function parseSigningKey(name: string, pem: string): SigningKey {
  const labels = [...pem.matchAll(LABEL)].map(([, label = '']) => label);
  if (labels.some((label) => label.endsWith('PRIVATE KEY')))
    throw new Error('holds a private key, which belongs to whoever signs: only its public half is for here');
  if (labels.length !== 1 || labels[0] !== 'PUBLIC KEY')
    throw new Error('must hold one public key in PEM, between BEGIN PUBLIC KEY and END PUBLIC KEY');
  const key = readKey(pem);
  const hashes = hashesOf(key);
  return {
    name,
    fingerprint: createHash('sha256')
      .update(key.export({ type: 'spki', format: 'der' }))
      .digest('hex'),
    verifies: (data, signature) => hashes.some((hash) => verify(hash, data, key, signature)),
  };
}

function readKey(pem: string): KeyObject {
  try {
    return createPublicKey(pem);
  } catch {
    throw new Error('holds a public key that cannot be read');
  }
}

/** The hashes that a signature may have been made with; null if the algorithm has its own. */
function hashesOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): readonly (string | null)[] {
  const { namedCurve = '', modulusLength = 0 } = asymmetricKeyDetails ?? {};
  const ofCurve = CURVES.get(namedCurve);
  if (asymmetricKeyType === 'ec' && ofCurve !== undefined) return ofCurve;
  if (asymmetricKeyType === 'ed25519') return [null];
  if (asymmetricKeyType !== 'rsa')
    throw new Error('must hold a key of ECDSA (P-256, P-384 or P-521), RSA or Ed25519');
  if (modulusLength < RSA_BITS_MIN)
    throw new Error(`holds an RSA key of ${modulusLength} bits; ${RSA_BITS_MIN} are the least`);
  return ['sha256'];
}

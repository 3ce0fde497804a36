import type { Digest } from '../oci/digest.ts';
import { splitDigest } from '../oci/digest.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../oci/json.ts';
import type { SigningKey } from './signing-key.ts';

/** A signature that a registry offers for an image, in one of the formats of cosign. */
export type SignatureClaim =
  /** A payload of simple signing, and its signature in base64. */
  | { readonly kind: 'simple-signing'; readonly payload: Uint8Array; readonly signature: string }
  /** A bundle of Sigstore: a DSSE envelope around an in-toto statement. */
  | { readonly kind: 'bundle'; readonly bytes: Uint8Array }
  /** A signature object that is invalid or too large. */
  | { readonly kind: 'unusable' };

const PAYLOAD_TYPE = 'cosign container image signature';
const STATEMENT_TYPE = /^https:\/\/in-toto\.io\/Statement\/v(?:0\.1|1)$/;
/** Distinguishes signatures from attestations that the same key may have signed. */
const SIGNED_PREDICATE = 'https://sigstore.dev/cosign/sign/v1';
const DSSE_TYPE = 'application/vnd.in-toto+json';

/** Lists the keys that have signed exactly this digest by a claim, which may be anything at all. */
export function signersOf(
  claim: SignatureClaim,
  digest: Digest,
  keys: readonly SigningKey[],
): readonly SigningKey[] {
  switch (claim.kind) {
    case 'simple-signing':
      return simpleSigners(claim.payload, claim.signature, digest, keys);
    case 'bundle':
      return bundleSigners(claim.bytes, digest, keys);
    case 'unusable':
      return [];
  }
}

/**
 * `critical.identity` is ignored, as `cosign verify` does. It names the repository of the signing, which differs after
 * an image is promoted or mirrored.
 *
 * @see https://github.com/containers/image/blob/main/docs/containers-signature.5.md
 */
function simpleSigners(
  payload: Uint8Array,
  signature: string,
  digest: Digest,
  keys: readonly SigningKey[],
): readonly SigningKey[] {
  const signers = keysThatSigned(keys, payload, signature);
  if (signers.length === 0) return [];
  const critical = member(parseJsonObject(payload), 'critical');
  const isMeant = member(critical, 'image')?.['docker-manifest-digest'] === digest;
  return critical?.type === PAYLOAD_TYPE && isMeant ? signers : [];
}

/**
 * The bundle's certificates and transparency log are ignored, because only the key counts.
 *
 * @see https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
 * @see https://github.com/secure-systems-lab/dsse/blob/master/envelope.md
 */
function bundleSigners(
  bytes: Uint8Array,
  digest: Digest,
  keys: readonly SigningKey[],
): readonly SigningKey[] {
  const envelope = member(parseJsonObject(bytes), 'dsseEnvelope');
  const { payload, payloadType, signatures } = envelope ?? {};
  const [only, ...others] = Array.isArray(signatures) ? (signatures as unknown[]) : [];
  if (typeof payload !== 'string' || payloadType !== DSSE_TYPE) return [];
  if (!isJsonObject(only) || typeof only.sig !== 'string' || others.length > 0) return [];
  const statement = Buffer.from(payload, 'base64');
  const signers = keysThatSigned(keys, preAuthenticated(payloadType, statement), only.sig);
  return signers.length > 0 && isSignatureOf(parseJsonObject(statement), digest) ? signers : [];
}

/** @see https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md */
function isSignatureOf(statement: JsonObject | undefined, digest: Digest): boolean {
  const { _type: type, predicateType, subject } = statement ?? {};
  if (typeof type !== 'string' || !STATEMENT_TYPE.test(type) || predicateType !== SIGNED_PREDICATE)
    return false;
  const { algorithm, hex } = splitDigest(digest);
  return Array.isArray(subject) && subject.some((one) => member(one, 'digest')?.[algorithm] === hex);
}

/** @see https://github.com/secure-systems-lab/dsse/blob/master/protocol.md */
function preAuthenticated(type: string, body: Buffer): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(type)} ${type} ${body.length} `;
  return Buffer.concat([Buffer.from(head), body]);
}

function keysThatSigned(keys: readonly SigningKey[], data: Uint8Array, signature: string): SigningKey[] {
  const bytes = decodeBase64(signature);
  if (bytes === undefined) return [];
  return keys.filter((key) => key.verifies(data, bytes));
}

/** Only the standard alphabet and line breaks, because Node.js decodes any text. */
function decodeBase64(text: string): Buffer | undefined {
  const written = text.replace(/[\r\n]/g, '');
  const bytes = Buffer.from(written, 'base64');
  return bytes.toString('base64') === written ? bytes : undefined;
}

function member(value: unknown, name: string): JsonObject | undefined {
  const found = isJsonObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
  return isJsonObject(found) ? found : undefined;
}

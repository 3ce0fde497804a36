import { createHash, type Hash } from 'node:crypto';
import { detail } from '../errors/details.ts';
import { quote, ServiceError } from '../errors.ts';

declare const brand: unique symbol;

/** A content digest such as `sha256:e3b0…`, checked by {@link parseDigest}, the only way to get one. */
export type Digest = string & { readonly [brand]: 'Digest' };

const HEX_LENGTH = new Map([
  ['sha256', 64],
  ['sha384', 96],
  ['sha512', 128],
]);

/**
 * Reads a digest of the form `algorithm:hex`, with a registered algorithm and as many lowercase hex digits as it has.
 *
 * @throws ServiceError `reference-invalid`, naming the rule
 * @see https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests
 */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) throw new InvalidDigestError(text);
  return text;
}

/** Thrown for a text that is not a digest. */
export class InvalidDigestError extends ServiceError {
  constructor(text: string) {
    super('reference-invalid', detail('digest-invalid', { text: quote(text) }), { reason: 'Invalid digest' });
  }
}

/** Tells whether a string is a well-formed digest. */
export function isDigest(text: unknown): text is Digest {
  if (typeof text !== 'string') return false;
  const { algorithm, hex } = splitDigest(text);
  return HEX_LENGTH.get(algorithm) === hex.length && /^[0-9a-f]+$/.test(hex);
}

/** Splits `algorithm:hex`. */
export function splitDigest(digest: string): { algorithm: string; hex: string } {
  const colon = digest.indexOf(':');
  return { algorithm: digest.slice(0, colon), hex: digest.slice(colon + 1) };
}

/** The longest hash in the tag of a list of referrers; a tag has at most 128 characters. */
const REFERRERS_HEX_MAX = 64;

/**
 * Returns the tag under which a registry without a list of referrers has one: `sha256-e3b0…`.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
 */
export function referrersTag(digest: Digest): string {
  const { algorithm, hex } = splitDigest(digest);
  return `${algorithm}-${hex.slice(0, REFERRERS_HEX_MAX)}`;
}

/** Starts a running hash with a digest's own algorithm; compare with {@link finishDigest}. */
export function digestHash(digest: Digest): Hash {
  return createHash(splitDigest(digest).algorithm);
}

/** Ends a running hash into a digest of the same algorithm as `like`. */
export function finishDigest(hash: Hash, like: Digest): Digest {
  return `${splitDigest(like).algorithm}:${hash.digest('hex')}` as Digest;
}

/** The sha256 digest of some bytes. */
export function sha256(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

/** Tells whether a digest is that of empty content. */
export function isOfNothing(digest: Digest): boolean {
  return finishDigest(digestHash(digest), digest) === digest;
}

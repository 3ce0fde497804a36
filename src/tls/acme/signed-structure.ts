import { type KeyObject, verify } from 'node:crypto';
import { childrenOf, type Element } from '../der-reader.ts';

/** Signature algorithms, as the hexadecimal content of their OBJECT IDENTIFIER. */
const HASHES: Readonly<Record<string, string>> = {
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
};

/** A structure of X.509 with its signature: a revocation list, or the content of an OCSP response. */
export interface SignedStructure {
  readonly content: Element;
  /** Tells whether the owner of a key has signed the content. */
  isSignedBy(key: KeyObject): boolean;
  /** The elements after the signature. */
  readonly rest: readonly Element[];
}

/** Reads a sequence of the content, the signature algorithm, and the signature; undefined for anything else. */
export function signedStructure(whole: Element | undefined): SignedStructure | undefined {
  const [content, algorithm, signature, ...rest] = whole === undefined ? [] : childrenOf(whole);
  if (content === undefined || algorithm === undefined || signature === undefined) return undefined;
  const hash = HASHES[childrenOf(algorithm)[0]?.content.toString('hex') ?? ''];
  return {
    content,
    // The first byte of a BIT STRING is the number of unused bits.
    isSignedBy: (key) =>
      hash !== undefined && verify(hash, content.whole, key, signature.content.subarray(1)),
    rest,
  };
}

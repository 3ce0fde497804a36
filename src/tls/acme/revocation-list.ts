import type { X509Certificate } from 'node:crypto';
import { childrenOf, type Element, elementAt } from '../der-reader.ts';
import { signedStructure } from './signed-structure.ts';

/** The extension cRLDistributionPoints, 2.5.29.31. */
const DISTRIBUTION_POINTS = Buffer.from('0603551d1f', 'hex');
/** The tag of a uniformResourceIdentifier in a GeneralName. */
const URI = 0x86;
const SEQUENCE = 0x30;
const INTEGER = 0x02;

/** Finds the URL of the list: the first URI after the identifier of the extension. */
export function listUrlOf({ raw }: X509Certificate): string | undefined {
  const found = raw.indexOf(DISTRIBUTION_POINTS);
  if (found < 0) return undefined;
  const value = elementAt(raw, found + DISTRIBUTION_POINTS.length);
  const [points] = value === undefined ? [] : childrenOf(value);
  const uri = points && leaves(points).find(({ tag }) => tag === URI);
  const url = URL.parse(uri?.content.toString('latin1') ?? '');
  return url !== null && /^https?:$/.test(url.protocol) ? url.href : undefined;
}

/**
 * Tells whether a revocation list in DER contains a certificate.
 *
 * @throws Error if the issuer has not signed the list
 * @see https://www.rfc-editor.org/rfc/rfc5280#section-5
 */
export function isListed(list: Buffer, leaf: X509Certificate, issuer: X509Certificate): boolean {
  const signed = signedStructure(elementAt(list, 0));
  if (signed === undefined) throw new Error('the revocation list does not conform to RFC 5280');
  if (!signed.isSignedBy(issuer.publicKey))
    throw new Error('the issuer of the certificate has not signed the revocation list');
  // Before the entries: a version, the algorithm, the issuer, and one or two times. Entries are sequences of sequences
  // that begin with a serial number.
  const entries = childrenOf(signed.content)
    .filter(({ tag }) => tag === SEQUENCE)
    .slice(2)
    .flatMap(childrenOf);
  const serial = normalized(leaf.serialNumber);
  return entries.some((entry) => {
    const [first] = childrenOf(entry);
    return first?.tag === INTEGER && normalized(first.content.toString('hex')) === serial;
  });
}

function leaves(element: Element): Element[] {
  // The third bit of the first three in a tag says that the element consists of others.
  return (element.tag & 0x20) === 0 ? [element] : childrenOf(element).flatMap(leaves);
}

function normalized(hex: string): string {
  return hex.toLowerCase().replace(/^0+/, '');
}

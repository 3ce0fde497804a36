import { createHash, X509Certificate } from 'node:crypto';
import { der, octetString, oid, sequence } from '../der.ts';
import { childrenOf, type Element, elementAt } from '../der-reader.ts';
import { type SignedStructure, signedStructure } from './signed-structure.ts';

/** A certificate and its issuer. */
export interface IssuedPair {
  readonly leaf: X509Certificate;
  readonly issuer: X509Certificate;
}

export type OcspStatus = 'good' | 'revoked' | 'unknown';

/** Responders must know SHA-1, and many know no other hash. It only names the issuer here. */
const SHA1 = sequence(oid(1, 3, 14, 3, 2, 26), der(0x05, Buffer.alloc(0)));
/** The response type id-pkix-ocsp-basic. */
const BASIC = oid(1, 3, 6, 1, 5, 5, 7, 48, 1, 1);
/** The extended key usage of certificates that an issuer lets sign its responses: id-kp-OCSPSigning. */
const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9';
const STATUSES = new Map<number | undefined, OcspStatus>([
  [0x80, 'good'],
  [0xa1, 'revoked'],
  [0x82, 'unknown'],
]);
const GENERALIZED_TIME = 0x18;
/** Tags of optional elements: the version of a certificate or a response, and the end of an answer's validity. */
const OPTIONAL_0 = 0xa0;
/** Milliseconds by which clocks may differ. */
const CLOCK_SKEW_MS = 300_000;
/** Milliseconds for which an answer that states no end is fresh. */
const DEFAULT_VALIDITY_MS = 86_400_000;

/** Returns the URL at which a responder describes a certificate; undefined if the certificate names no responder. */
export function ocspUrlOf(pair: IssuedPair): string | undefined {
  const [, named = ''] = /^OCSP - URI:(\S+)$/m.exec(pair.leaf.infoAccess ?? '') ?? [];
  const url = URL.parse(named);
  if (url === null || !/^https?:$/.test(url.protocol)) return undefined;
  // https://www.rfc-editor.org/rfc/rfc6960#appendix-A.1
  const request = sequence(sequence(sequence(sequence(certificateId(pair)))));
  return `${url.href.replace(/\/$/, '')}/${encodeURIComponent(request.toString('base64'))}`;
}

/**
 * Parses the response of an OCSP responder.
 *
 * @param now milliseconds since the epoch
 * @throws Error if the response is not about the certificate, not fresh, or not signed for its issuer
 * @see https://www.rfc-editor.org/rfc/rfc6960#section-3.2
 */
export function parseOcspResponse(response: Buffer, pair: IssuedPair, now: number): OcspStatus {
  const basic = basicResponse(response);
  const signed = signedStructure(basic);
  if (signed === undefined) throw new Error('the OCSP response does not conform to RFC 6960');
  if (!isAuthorized(signed, pair.issuer, now))
    throw new Error('the OCSP response is not signed for the issuer of the certificate');
  // Before the answers: an optional version, the name of the responder, and a time.
  const parts = childrenOf(signed.content).filter(({ tag }) => tag !== OPTIONAL_0);
  const answers = parts[2] === undefined ? [] : childrenOf(parts[2]).map(childrenOf);
  const wanted = identifiersOf(elementAt(certificateId(pair), 0));
  const found = answers.find(([id]) => identifiersOf(id).equals(wanted));
  if (found === undefined) throw new Error('the OCSP response is about another certificate');
  const [, status, thisUpdate, next] = found;
  const start = timeOf(thisUpdate);
  const end = next?.tag === OPTIONAL_0 ? timeOf(childrenOf(next)[0]) : start + DEFAULT_VALIDITY_MS;
  if (!(start - CLOCK_SKEW_MS <= now && now <= end + CLOCK_SKEW_MS))
    throw new Error('the OCSP response is not fresh');
  return STATUSES.get(status?.tag) ?? 'unknown';
}

/** Finds the signed response in its envelope, which a responder without an answer leaves empty. */
function basicResponse(response: Buffer): Element | undefined {
  const [, bytes] = partsOf(elementAt(response, 0));
  const [envelope] = partsOf(bytes);
  const [type, content] = partsOf(envelope);
  return type?.whole.equals(BASIC) && content !== undefined ? elementAt(content.content, 0) : undefined;
}

/** The issuer signs responses itself, or by a certificate that it issued for this purpose. */
function isAuthorized({ isSignedBy, rest }: SignedStructure, issuer: X509Certificate, now: number): boolean {
  if (isSignedBy(issuer.publicKey)) return true;
  const certificates = partsOf(partsOf(rest[0])[0]).map(({ whole }) => new X509Certificate(whole));
  return certificates.some(
    (signer) =>
      signer.keyUsage?.includes(OCSP_SIGNING) &&
      signer.validFromDate.getTime() <= now &&
      now <= signer.validToDate.getTime() &&
      signer.verify(issuer.publicKey) &&
      isSignedBy(signer.publicKey),
  );
}

/** Encodes the CertID of a certificate. */
function certificateId({ leaf, issuer }: IssuedPair): Buffer {
  const [serial, , name] = fieldsOf(leaf);
  const spki = issuer.publicKey.export({ type: 'spki', format: 'der' });
  // The first byte of a BIT STRING is the number of unused bits.
  const key = partsOf(elementAt(spki, 0))[1]?.content.subarray(1);
  if (serial === undefined || name === undefined || key === undefined)
    throw new Error('the certificate does not conform to RFC 5280');
  return sequence(SHA1, octetString(sha1(name.whole)), octetString(sha1(key)), serial.whole);
}

/** The hashes and the serial number of a CertID. Encodings of the hash algorithm differ. */
function identifiersOf(id: Element | undefined): Buffer {
  return Buffer.concat(
    partsOf(id)
      .slice(1)
      .map(({ whole }) => whole),
  );
}

/** The fields of a certificate from its serial number on. */
function fieldsOf({ raw }: X509Certificate): Element[] {
  const [content] = partsOf(elementAt(raw, 0));
  return partsOf(content).filter(({ tag }, index) => index > 0 || tag !== OPTIONAL_0);
}

function partsOf(element: Element | undefined): Element[] {
  return element === undefined ? [] : childrenOf(element);
}

function sha1(bytes: Buffer): Buffer {
  return createHash('sha1').update(bytes).digest();
}

/** Reads a time in milliseconds since the epoch; NaN for anything else. */
function timeOf(element: Element | undefined): number {
  const text = element?.tag === GENERALIZED_TIME ? element.content.toString('latin1') : '';
  return Date.parse(text.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
}

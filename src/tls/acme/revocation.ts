import { verify, X509Certificate } from 'node:crypto';
import type { Certificate } from '../certificate.ts';
import { childrenOf, type Element, elementAt } from '../der-reader.ts';
import type { ReadRenewalInfo, RenewalInfo } from './renewal-info.ts';

/** Reads renewal information of a certificate without its key. */
type ReadSuggestion = (
  certificate: Pick<Certificate, 'cert'>,
  signal: AbortSignal,
) => ReturnType<ReadRenewalInfo>;

/** Tells whether the authority has revoked a certificate; undefined if the certificate names no revocation list. */
export type ReadRevocation = (
  certificate: Pick<Certificate, 'cert'>,
  signal: AbortSignal,
) => Promise<boolean | undefined>;

const TIMEOUT_MS = 60_000;
/** Bytes. Let's Encrypt splits its lists into parts of less than one MiB. */
const LARGEST_LIST = 16 << 20;
/** The extension cRLDistributionPoints, 2.5.29.31. */
const DISTRIBUTION_POINTS = Buffer.from('0603551d1f', 'hex');
/** The tag of a uniformResourceIdentifier in a GeneralName. */
const URI = 0x86;
const SEQUENCE = 0x30;
const INTEGER = 0x02;
/** Signature algorithms, as the hexadecimal content of their OBJECT IDENTIFIER. */
const HASHES: Readonly<Record<string, string>> = {
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
};

/**
 * Reads the revocation list that a certificate names. The issuer in the chain of the certificate must have signed it.
 *
 * @see https://www.rfc-editor.org/rfc/rfc5280#section-5
 */
export const readRevocation: ReadRevocation = async ({ cert }, signal) => {
  const [leaf, issuer] = (
    cert.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? []
  ).map((pem) => new X509Certificate(pem));
  const url = leaf && listUrlOf(leaf);
  if (url === undefined || leaf === undefined || issuer === undefined) return undefined;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  return revokedSerials(await download(url, limit), issuer).has(normalized(leaf.serialNumber));
};

/** The window of a revoked certificate, which is in the past. */
const REVOKED: RenewalInfo = { start: 0, end: 0, retryAfter: undefined };

/** Adds revocation to renewal information: a revoked certificate is renewed at once, whatever the authority suggests. */
export function withRevocation(
  readInfo: ReadSuggestion,
  isRevoked: ReadRevocation = readRevocation,
): ReadSuggestion {
  return async (certificate, signal) => {
    const found = await isRevoked(certificate, signal).catch(() => undefined);
    return found ? REVOKED : readInfo(certificate, signal);
  };
}

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
 * Parses a revocation list in DER.
 *
 * @returns serial numbers in hexadecimal, without leading zeros
 * @throws Error if the list is not signed by the issuer
 */
export function revokedSerials(list: Buffer, issuer: X509Certificate): ReadonlySet<string> {
  const whole = elementAt(list, 0);
  const [signed, algorithm, signature] = whole === undefined ? [] : childrenOf(whole);
  if (signed === undefined || algorithm === undefined || signature === undefined)
    throw new Error('the revocation list is not one of RFC 5280');
  const hash = HASHES[childrenOf(algorithm)[0]?.content.toString('hex') ?? ''];
  // The first byte of a BIT STRING is the number of unused bits.
  const isSigned =
    hash !== undefined && verify(hash, signed.whole, issuer.publicKey, signature.content.subarray(1));
  if (!isSigned) throw new Error('the issuer of the certificate has not signed the revocation list');
  // Before the entries: a version, the algorithm, the issuer, and one or two times. Entries are sequences of sequences
  // that begin with a serial number.
  const entries = childrenOf(signed)
    .filter(({ tag }) => tag === SEQUENCE)
    .slice(2)
    .flatMap(childrenOf);
  const serials = entries.map((entry) => childrenOf(entry)[0]).filter((first) => first?.tag === INTEGER);
  return new Set(serials.map((serial) => normalized(serial?.content.toString('hex') ?? '')));
}

function leaves(element: Element): Element[] {
  // The third bit of the first three in a tag says that the element consists of others.
  return (element.tag & 0x20) === 0 ? [element] : childrenOf(element).flatMap(leaves);
}

function normalized(hex: string): string {
  return hex.toLowerCase().replace(/^0+/, '');
}

async function download(url: string, signal: AbortSignal): Promise<Buffer> {
  const response = await fetch(url, { signal, headers: { 'user-agent': 'DockerProxy' } });
  if (!response.ok) throw new Error(`${url} returned status ${response.status}`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > LARGEST_LIST) throw new Error('the revocation list is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

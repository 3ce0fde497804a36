import { X509Certificate } from 'node:crypto';
import { get } from 'node:https';
import { nodeTls } from '../../util/builtins.ts';
import { parseRetryAfter } from '../../util/retry-after.ts';
import { trustSystemAuthorities } from '../../util/system-authorities.ts';
import type { Certificate } from '../certificate.ts';
import type { CertificateOrder } from './issuer.ts';

/** The time at which the authority suggests to renew a certificate; in milliseconds since the epoch. */
export interface RenewalInfo {
  readonly start: number;
  readonly end: number;
  /** Milliseconds until the authority wants to be asked again; undefined if it states no time. */
  readonly retryAfter: number | undefined;
}

/** Reads the renewal information of a certificate; undefined if the authority offers none. */
export type ReadRenewalInfo = (
  certificate: Certificate,
  signal: AbortSignal,
) => Promise<RenewalInfo | undefined>;

const REQUEST_TIMEOUT_MS = 30_000;
/** Bytes. A directory has about one thousand. */
const LARGEST_REPLY = 65_536;
/** The extension authorityKeyIdentifier, 2.5.29.35, and the tag of its value. */
const AUTHORITY_KEY_ID = Buffer.from('0603551d2304', 'hex');
/** The tag of keyIdentifier within it. */
const KEY_IDENTIFIER = 0x80;

/**
 * Computes the identifier of a certificate for its authority; undefined without an authorityKeyIdentifier.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9773#section-4.1
 */
export function renewalInfoId({ cert }: Pick<Certificate, 'cert'>): string | undefined {
  const { raw, serialNumber } = new X509Certificate(cert);
  const found = raw.indexOf(AUTHORITY_KEY_ID);
  // After the tag: the length of the OCTET STRING, then SEQUENCE, its length, and the first element.
  const element = found + AUTHORITY_KEY_ID.length + 3;
  const [tag, length = 0] = raw.subarray(element, element + 2);
  if (found < 0 || tag !== KEY_IDENTIFIER) return undefined;
  const keyId = raw.subarray(element + 2, element + 2 + length);
  const even = serialNumber.length % 2 === 0 ? serialNumber : `0${serialNumber}`;
  const isNegative = Number.parseInt(even.slice(0, 1), 16) >= 8;
  const serial = Buffer.from(isNegative ? `00${even}` : even, 'hex');
  return `${keyId.toString('base64url')}.${serial.toString('base64url')}`;
}

/**
 * Parses a renewal information object; undefined if it has no usable window.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9773#section-4.2
 */
export function parseRenewalInfo(body: unknown): Pick<RenewalInfo, 'start' | 'end'> | undefined {
  const { suggestedWindow } = Object(body) as { suggestedWindow?: unknown };
  const window = Object(suggestedWindow) as Record<string, unknown>;
  const [start, end] = [Date.parse(String(window.start)), Date.parse(String(window.end))];
  return start <= end ? { start, end } : undefined;
}

/** Reads renewal information without an account. An error response or a broken window is an error. */
export function createRenewalInfoReader({
  directory,
  authorities,
}: Pick<CertificateOrder, 'directory' | 'authorities'>): (
  certificate: Pick<Certificate, 'cert'>,
  signal: AbortSignal,
) => ReturnType<ReadRenewalInfo> {
  return async (certificate, signal) => {
    const id = renewalInfoId(certificate);
    if (id === undefined) return undefined;
    trustSystemAuthorities();
    const ca = authorities && [...nodeTls().getCACertificates('default'), authorities];
    const limit = AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]);
    const { renewalInfo } = Object((await read(directory, ca, limit)).body) as { renewalInfo?: unknown };
    if (typeof renewalInfo !== 'string') return undefined;
    const { body, retryAfter } = await read(`${renewalInfo.replace(/\/$/, '')}/${id}`, ca, limit);
    const window = parseRenewalInfo(body);
    if (window === undefined) throw new Error('the renewal information has no valid window');
    return { ...window, retryAfter: parseRetryAfter(retryAfter, Date.now()) };
  };
}

async function readText(response: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    size += chunk.length;
    // Leaving the loop closes the connection.
    if (size > LARGEST_REPLY) throw new Error('the renewal information is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

async function read(url: string, ca: string[] | undefined | '', signal: AbortSignal) {
  const { promise, resolve, reject } = Promise.withResolvers<import('node:http').IncomingMessage>();
  const headers = { accept: 'application/json', 'user-agent': 'DockerProxy' };
  get(url, { headers, signal, ...(ca && { ca }) }, resolve).once('error', reject);
  const response = await promise;
  const body = await readText(response);
  if (response.statusCode !== 200) throw new Error(`${url} returned status ${response.statusCode}`);
  return { body: JSON.parse(body) as unknown, retryAfter: response.headers['retry-after'] };
}

import { X509Certificate } from 'node:crypto';
import type { Certificate } from '../certificate.ts';
import { ocspUrlOf, parseOcspResponse } from './ocsp.ts';
import type { ReadRenewalInfo, RenewalInfo } from './renewal-info.ts';
import { isListed, listUrlOf } from './revocation-list.ts';

/** Reads renewal information of a certificate without its key. */
type ReadSuggestion = (
  certificate: Pick<Certificate, 'cert'>,
  signal: AbortSignal,
) => ReturnType<ReadRenewalInfo>;

/** Tells whether the authority has revoked a certificate; undefined if that is unknown. */
export type ReadRevocation = (
  certificate: Pick<Certificate, 'cert'>,
  signal: AbortSignal,
) => Promise<boolean | undefined>;

/** Downloads a file of at most `limit` bytes from an address that a certificate names. */
export type DownloadNamed = (url: string, limit: number, signal: AbortSignal) => Promise<Buffer>;

export interface RevocationOptions {
  readonly download: DownloadNamed;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Milliseconds for one response of a responder, and for one list. */
const OCSP_TIMEOUT_MS = 15_000;
const LIST_TIMEOUT_MS = 60_000;
/** Maximum bytes of a response. Typical ones have a few thousand, mostly for certificates. */
const LARGEST_RESPONSE = 65_536;
/** Bytes. Let's Encrypt splits its lists into parts of less than one MiB. */
const LARGEST_LIST = 16 << 20;

/**
 * Asks the OCSP responder that a certificate names. If it has no valid answer, reads the revocation list that the
 * certificate names. The issuer in the chain of the certificate must have signed either.
 */
export function createRevocationReader({ download, now }: RevocationOptions): ReadRevocation {
  const limited = (url: string, limit: number, milliseconds: number, signal: AbortSignal): Promise<Buffer> =>
    download(url, limit, AbortSignal.any([signal, AbortSignal.timeout(milliseconds)]));
  return async ({ cert }, signal) => {
    const [leaf, issuer] = (
      cert.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? []
    ).map((pem) => new X509Certificate(pem));
    if (leaf === undefined || issuer === undefined) return undefined;
    const responder = ocspUrlOf({ leaf, issuer });
    if (responder !== undefined) {
      const status = await limited(responder, LARGEST_RESPONSE, OCSP_TIMEOUT_MS, signal)
        .then((response) => parseOcspResponse(response, { leaf, issuer }, now()))
        .catch(() => 'unknown');
      if (status !== 'unknown') return status === 'revoked';
    }
    const url = listUrlOf(leaf);
    if (url === undefined) return undefined;
    return isListed(await limited(url, LARGEST_LIST, LIST_TIMEOUT_MS, signal), leaf, issuer);
  };
}

/** The window of a revoked certificate, which is in the past. */
const REVOKED: RenewalInfo = { start: 0, end: 0, retryAfter: undefined };

/** Adds revocation to renewal information: a revoked certificate is renewed at once, whatever the authority suggests. */
export function withRevocation(readInfo: ReadSuggestion, isRevoked: ReadRevocation): ReadSuggestion {
  return async (certificate, signal) => {
    const found = await isRevoked(certificate, signal).catch(() => undefined);
    return found ? REVOKED : readInfo(certificate, signal);
  };
}

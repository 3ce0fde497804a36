import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { createSecureContext } from 'node:tls';

/** A certificate with its key. They are known to match and to be usable for TLS. */
export interface Certificate {
  /** PEM: the certificate and, after it, its chain. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** The DNS names and IP addresses that it is for. */
  readonly names: readonly string[];
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** SHA-256 of the certificate, as openssl shows it. */
  readonly fingerprint: string;
  /** The 48 bytes of the ticket key that several processes share; if absent, each process has its own. */
  readonly ticketKeys?: Buffer;
}

/**
 * Reads a certificate and its key, both PEM.
 *
 * @throws Error with a message that ends the sentence "The certificate …"
 */
export function parseCertificate(cert: string, key: string): Certificate {
  const leaf = attempt(() => new X509Certificate(cert), 'is not a certificate in PEM');
  const privateKey = attempt(() => createPrivateKey(key), 'has a key that is encrypted or not in PEM');
  if (!leaf.checkPrivateKey(privateKey)) throw new Error('does not belong to its key');
  demandServable(cert, key);
  return {
    cert,
    key,
    names: [...(leaf.subjectAltName ?? '').matchAll(/(?:DNS|IP Address):([^,\s]+)/g)].map(
      ([, name = '']) => name,
    ),
    notBefore: leaf.validFromDate.getTime(),
    notAfter: leaf.validToDate.getTime(),
    fingerprint: leaf.fingerprint256,
  };
}

/** Tells whether a certificate is for each of these DNS names and IP addresses. */
export function isFor({ cert }: Certificate, names: readonly string[]): boolean {
  const leaf = new X509Certificate(cert);
  return names.every((name) => (isIP(name) === 0 ? leaf.checkHost(name) : leaf.checkIP(name)) !== undefined);
}

/** So far, only the leaf was read. A truncated chain or a key that is too short would crash the server later. */
function demandServable(cert: string, key: string): void {
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    const { reason, message } = cause as Error & { reason?: string };
    throw new Error(`cannot be served with its chain: ${reason ?? message}`, { cause });
  }
}

function attempt<T>(parse: () => T, message: string): T {
  try {
    return parse();
  } catch (cause) {
    throw new Error(message, { cause });
  }
}

import type { Certificate } from './certificate.ts';

/**
 * Provides the certificate that the server shows. If the next one fails, the current one stays in use until a better
 * one is available.
 */
export interface CertificateProvider {
  /** The certificate to begin with; undefined where plain HTTP is served. */
  readonly certificate: Certificate | undefined;
  /** Begins the work that needs a server which answers. `use` gets each new certificate, to be shown from then on. */
  start(use: (certificate: Certificate) => void): void;
  /** Looks again at once: at files that may have changed, at an attempt that failed. */
  reload(): Promise<void>;
  status(): CertificateStatus;
  close(): Promise<void>;
}

/** How it stands with the certificate, for whoever watches the server. */
export interface CertificateStatus {
  /** `temporary`: self-signed, in the place of one that is on its way. */
  readonly state: 'valid' | 'temporary' | 'expired' | 'off';
  /** Milliseconds since the epoch, as all times here. */
  readonly notAfter: number | undefined;
  /** The last failure, until the next success. */
  readonly lastFailure: CertificateFailure | undefined;
  /** When the next certificate will be asked for. */
  readonly nextAttempt: number | undefined;
}

export interface CertificateFailure {
  readonly at: number;
  /** A short name, as in the table of docs/tls.md. */
  readonly code: string;
  /** One full sentence that the operator can act on. */
  readonly message: string;
}

/** The provider of those who serve plain HTTP. */
export function createNoCertificate(): CertificateProvider {
  return {
    certificate: undefined,
    start() {},
    async reload() {},
    status: () => ({ state: 'off', notAfter: undefined, lastFailure: undefined, nextAttempt: undefined }),
    async close() {},
  };
}

/** The state of a certificate that was not put there for the time being. */
export function stateOf({ notAfter }: Certificate, now: number): 'valid' | 'expired' {
  return now < notAfter ? 'valid' : 'expired';
}

import type { Certificate } from './certificate.ts';

/**
 * Provides the certificate that the server shows. If the next one fails, the current one stays in use until a better
 * one is available.
 */
export interface CertificateProvider {
  /** The first certificate; undefined for plain HTTP. */
  readonly certificate: Certificate | undefined;
  /** Starts the work that needs a running server. `use` receives each new certificate to serve. */
  start(use: (certificate: Certificate) => void): void;
  /** Checks again immediately for changed files, and retries a failed attempt. */
  reload(): Promise<void>;
  status(): CertificateStatus;
  close(): Promise<void>;
}

/** Returns the status of the certificate, for monitoring. */
export interface CertificateStatus {
  /** `temporary`: a self-signed certificate until the first real one. */
  readonly state: 'valid' | 'temporary' | 'expired' | 'off';
  /** Milliseconds since the epoch, as all times here. */
  readonly notAfter: number | undefined;
  /** The last failure, until the next success. */
  readonly lastFailure: CertificateFailure | undefined;
  /** The time of the next order. */
  readonly nextAttempt: number | undefined;
}

export interface CertificateFailure {
  readonly at: number;
  /** A short name, as in the table of docs/tls.md. */
  readonly code: string;
  /** One full sentence that the operator can act on. */
  readonly message: string;
  /** The first of the failures of an authority without another outcome since; undefined if it is not at fault. */
  readonly since?: number | undefined;
  /** The time until which each authority asks to wait, by its directory, in milliseconds since the epoch. */
  readonly waits?: Readonly<Record<string, number>> | undefined;
}

/** The provider for plain HTTP. */
export function createNoCertificate(): CertificateProvider {
  return {
    certificate: undefined,
    start() {},
    async reload() {},
    status: () => ({ state: 'off', notAfter: undefined, lastFailure: undefined, nextAttempt: undefined }),
    async close() {},
  };
}

/** Returns the status of a certificate that is not temporary. */
export function stateOf({ notAfter }: Certificate, now: number): 'valid' | 'expired' {
  return now < notAfter ? 'valid' : 'expired';
}

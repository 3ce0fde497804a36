import type { Certificate } from '../certificate.ts';

/** Gets certificates from an ACME authority. */
export interface CertificateIssuer {
  /**
   * Goes through one order, from the account to the certificate.
   *
   * @throws IssueError if that fails, or is aborted
   */
  issue(order: CertificateOrder, signal: AbortSignal): Promise<Certificate>;
}

export interface CertificateOrder {
  /** The directory URL of the authority. */
  readonly directory: string;
  readonly email: string;
  readonly domains: readonly string[];
}

/** The causes of failed orders. docs/tls.md explains each to the operator. */
export type FailureCode =
  | 'ca-unreachable'
  | 'ca-slow'
  | 'ca-rate-limited'
  | 'ca-failed'
  | 'ca-refused'
  | 'account-refused'
  | 'challenge-failed'
  | 'store-failed'
  | 'worker-ended'
  | 'unexpected';

/** The reason for a missing certificate; it can be cloned between threads. */
export interface IssueFailure {
  readonly code: FailureCode;
  /** One full sentence that the operator can act on. */
  readonly message: string;
  /** Milliseconds that the authority asks to wait. */
  readonly retryAfter: number | undefined;
}

export class IssueError extends Error {
  override readonly name = 'IssueError';
  readonly failure: IssueFailure;

  constructor(failure: IssueFailure, options: ErrorOptions = {}) {
    super(failure.message, options);
    this.failure = failure;
  }
}

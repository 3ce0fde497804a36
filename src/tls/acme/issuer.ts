import type { Certificate } from '../certificate.ts';
import type { ChallengeType } from './challenge.ts';

/** Gets certificates from an ACME authority. */
export interface CertificateIssuer {
  /**
   * Processes one order, from the account to the certificate.
   *
   * @throws IssueError if that fails, or is aborted
   */
  issue(order: CertificateOrder, signal: AbortSignal): Promise<Certificate>;
}

export interface CertificateOrder {
  /** The directory URL of the authority. */
  readonly directory: string;
  readonly email: string;
  /** DNS names and IP addresses. */
  readonly domains: readonly string[];
  /** The type of its challenges. By default HTTP-01. */
  readonly challenge?: ChallengeType | undefined;
  /** The profile of the certificate; undefined for the default of the authority. */
  readonly profile?: string | undefined;
  /** The name of the issuer of the chain to select, if the authority offers several chains. */
  readonly preferredChain?: string | undefined;
  readonly externalAccount?: ExternalAccount | undefined;
  /** PEM certificates that the connection to the authority also trusts. */
  readonly authorities?: string | undefined;
  /** The identifier of the certificate that this one replaces, as in RFC 9773. */
  readonly replaces?: string | undefined;
}

/**
 * A customer's account to which an ACME account is bound.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-7.3.4
 */
export interface ExternalAccount {
  readonly kid: string;
  /** The HMAC key in base64url. */
  readonly key: string;
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
  | 'dns-failed'
  | 'worker-ended'
  | 'client-failed'
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

export const DNS_FAILED = 'dns-failed';

/** A record for DNS-01 that cannot be set or seen; its message is one or more full sentences. */
export class DnsError extends Error {
  override readonly name = 'DnsError';
  /** Stays with the error on its way between threads. */
  readonly code = DNS_FAILED;
}

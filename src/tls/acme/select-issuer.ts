import { isIP } from 'node:net';
import { type CertificateIssuer, type CertificateOrder, IssueError, type IssueFailure } from './issuer.ts';

export interface IssuersOptions {
  readonly greenlock: CertificateIssuer;
  readonly builtin: CertificateIssuer;
  /** Called before the other client orders, with the failure of greenlock. */
  readonly onSwitch: (failure: IssueFailure) => void;
}

/** Failures of an ACME client. After any other failure, a second order would fail in the same way. */
const OWN_FAULTS = new Set<IssueFailure['code']>(['worker-ended', 'client-failed', 'unexpected']);

/**
 * Orders through greenlock, and through the built-in client if greenlock itself fails or lacks a feature. After a
 * failure of the authority, it makes no second order.
 */
export function selectIssuer({ greenlock, builtin, onSwitch }: IssuersOptions): CertificateIssuer {
  return {
    async issue(order, signal) {
      if (needsBuiltin(order)) return builtin.issue(order, signal);
      try {
        return await greenlock.issue(order, signal);
      } catch (error) {
        if (!(error instanceof IssueError) || !OWN_FAULTS.has(error.failure.code)) throw error;
        signal.throwIfAborted();
        onSwitch(error.failure);
        return builtin.issue(order, signal);
      }
    },
  };
}

/** Tells whether an order has a part that greenlock cannot request. */
export function needsBuiltin(order: CertificateOrder): boolean {
  const { profile, preferredChain, externalAccount, domains, challenge } = order;
  if (challenge === 'tls-alpn-01') return true;
  return [profile, preferredChain, externalAccount].some(Boolean) || domains.some((name) => isIP(name) !== 0);
}

import type { ChallengeType } from './challenge.ts';
import { type CertificateIssuer, IssueError } from './issuer.ts';

/**
 * Orders with HTTP-01, and after each failed validation with the other of HTTP-01 and TLS-ALPN-01, because only one of
 * the ports may be open. An order that names a challenge keeps it.
 */
export function alternateChallenges(issuer: CertificateIssuer): CertificateIssuer {
  let next: ChallengeType = 'http-01';
  return {
    async issue(order, signal) {
      try {
        return await issuer.issue({ ...order, challenge: order.challenge ?? next }, signal);
      } catch (error) {
        if (error instanceof IssueError && error.failure.code === 'challenge-failed') {
          next = next === 'http-01' ? 'tls-alpn-01' : 'http-01';
        }
        throw error;
      }
    },
  };
}

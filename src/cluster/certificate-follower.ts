import type { Certificate } from '../tls/certificate.ts';
import { type CertificateProvider, createNoCertificate, stateOf } from '../tls/certificate-provider.ts';

/** Shows the certificates that another process looks after. */
export interface CertificateFollower extends CertificateProvider {
  /** Takes the next one. */
  follow(certificate: Certificate): void;
}

/** @param first undefined where plain HTTP is served */
export function createCertificateFollower(
  first: Certificate | undefined,
  now: () => number,
): CertificateFollower {
  if (first === undefined) return { ...createNoCertificate(), follow() {} };
  let shown = first;
  let use: (certificate: Certificate) => void = () => {};
  return {
    certificate: first,
    start(show) {
      use = show;
      // Another one may have come while the server was made. And as it began to listen, node:cluster has given it the
      // ticket keys that the first worker of all began with.
      use(shown);
    },
    follow(next) {
      shown = next;
      use(next);
    },
    async reload() {},
    status: () => ({
      state: stateOf(shown, now()),
      notAfter: shown.notAfter,
      lastFailure: undefined,
      nextAttempt: undefined,
    }),
    async close() {},
  };
}

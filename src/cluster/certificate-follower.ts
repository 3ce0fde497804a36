import type { Certificate } from '../tls/certificate.ts';
import { type CertificateProvider, createNoCertificate, stateOf } from '../tls/certificate-provider.ts';

/** Serves the certificates that another process obtains and renews. */
export interface CertificateFollower extends CertificateProvider {
  /** Uses a new certificate. */
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
      // A newer certificate may have arrived while the server was created. Besides, node:cluster gives a new listener
      // the ticket keys of the first worker.
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

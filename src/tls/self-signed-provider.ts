import { createWallClockTimer } from '../util/wall-clock-timer.ts';
import { type Certificate, isFor } from './certificate.ts';
import { type CertificateFailure, type CertificateProvider, stateOf } from './certificate-provider.ts';
import { renewalTime } from './schedule.ts';
import { makeSelfSigned } from './self-signed.ts';
import type { CertificateStore } from './stores/certificate-store.ts';

export interface SelfSignedProviderOptions {
  /** DNS names and IP addresses that a new one is for. */
  readonly names: readonly string[];
  /** The names that a stored certificate must have to be served. */
  readonly neededNames: readonly string[];
  readonly store: CertificateStore;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly log: SelfSignedLog;
}

export interface SelfSignedLog {
  made(certificate: Certificate): void;
  /** Called if it cannot be stored: it is served, but a restart creates another one. */
  unsaved(failure: CertificateFailure): void;
}

const AUTHORITY = 'self-signed';
/** Milliseconds: a year, which every client takes. */
const LIFETIME_MS = 365 * 86_400_000;
/** Milliseconds by which the clocks of clients may be behind. */
const BACKDATE_MS = 3_600_000;

/** Serves a self-signed certificate, the same after each restart, so that clients can trust its fingerprint. */
export async function createSelfSignedProvider(
  options: SelfSignedProviderOptions,
): Promise<CertificateProvider> {
  const { names, neededNames, store, now, random, log } = options;
  let lastFailure: CertificateFailure | undefined;
  let use: (certificate: Certificate) => void = () => {};

  const make = async (): Promise<Certificate> => {
    const made = temporaryCertificate(names, now());
    log.made(made);
    lastFailure = undefined;
    await store.putCertificate(AUTHORITY, made).catch((error: Error) => {
      lastFailure = {
        at: now(),
        code: 'store-failed',
        message: `The certificate cannot be saved: ${error.message}.`,
      };
      log.unsaved(lastFailure);
    });
    return made;
  };
  const stored = await store.certificate(AUTHORITY);
  const isStoredGood = stored !== undefined && isFor(stored, neededNames) && renewalTime(stored, 1) > now();
  let certificate = isStoredGood ? stored : await make();

  let nextAttempt = renewalTime(certificate, random());
  const alarm = createWallClockTimer(now, async () => {
    certificate = await make();
    use(certificate);
    nextAttempt = renewalTime(certificate, random());
    alarm.set(nextAttempt);
  });
  return {
    certificate,
    start(show) {
      use = show;
      alarm.set(nextAttempt);
    },
    async reload() {},
    status: () => ({
      state: stateOf(certificate, now()),
      notAfter: certificate.notAfter,
      lastFailure,
      nextAttempt,
    }),
    async close() {
      alarm.clear();
    },
  };
}

/** A self-signed certificate that is valid from now on. */
export function temporaryCertificate(names: readonly string[], now: number): Certificate {
  return makeSelfSigned({ names, notBefore: now - BACKDATE_MS, notAfter: now + LIFETIME_MS });
}

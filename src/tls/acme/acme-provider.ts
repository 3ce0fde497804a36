import { createAlarm } from '../alarm.ts';
import { type Certificate, isFor } from '../certificate.ts';
import { type CertificateFailure, type CertificateProvider, stateOf } from '../certificate-provider.ts';
import type { CertificateStore } from '../certificate-store.ts';
import { nextRenewalTime, renewalTime, retryTime, WINDOW_MS } from '../schedule.ts';
import { temporaryCertificate } from '../self-signed-provider.ts';
import { type CertificateIssuer, type CertificateOrder, IssueError } from './issuer.ts';

export interface AcmeProviderOptions {
  readonly order: CertificateOrder;
  readonly issuer: CertificateIssuer;
  readonly store: CertificateStore;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly log: AcmeLog;
}

export interface AcmeLog {
  /** A self-signed certificate is shown until there is a real one. */
  temporary(certificate: Certificate): void;
  issued(certificate: Certificate): void;
  /** An attempt has failed; the next one is at that time. */
  failed(failure: CertificateFailure, next: number): void;
}

/** Milliseconds until a certificate that could not be saved is saved again. */
const SAVE_AGAIN_MS = 600_000;

/** Serves a certificate of an ACME authority and renews it in time, for years. */
export async function createAcmeProvider(options: AcmeProviderOptions): Promise<CertificateProvider> {
  const { order, issuer, store, now, random, log } = options;
  const { directory, domains } = order;
  const closed = new AbortController();
  let use: (certificate: Certificate) => void = () => {};
  let running: Promise<void> | undefined;
  let failures = 0;
  let unsaved: Certificate | undefined;
  let lastFailure: CertificateFailure | undefined;
  let nextAttempt: number | undefined;
  let attempts = await store.attempts(directory);

  // For its damage alone, which is told here: greenlock reads it in its thread.
  await store.account(directory);
  const stored = await store.certificate(directory);
  // After a change of the domains, the old certificate is still right for some of them.
  const isStoredOfUse = stored !== undefined && domains.some((domain) => isFor(stored, [domain]));
  let isTemporary = !isStoredOfUse;
  let certificate = isStoredOfUse ? stored : temporaryCertificate(domains, now());
  if (isTemporary) log.temporary(certificate);

  const sleepUntil = (time: number): void => {
    nextAttempt = time;
    if (!closed.signal.aborted) alarm.set(time);
  };
  const fail = (error: unknown, next: (retryAfter: number | undefined) => number): void => {
    const { code, message, retryAfter } = failureOf(error);
    lastFailure = { at: now(), code, message };
    const time = next(retryAfter);
    sleepUntil(time);
    log.failed(lastFailure, time);
  };

  /** What is served already is served from memory where the disk does not take it. */
  const save = async (fresh: Certificate): Promise<void> => {
    const renewal = nextRenewalTime(fresh, now(), random());
    try {
      unsaved = fresh;
      await store.putCertificate(directory, fresh);
      attempts = [];
      await store.putAttempts(directory, attempts);
      unsaved = undefined;
      lastFailure = undefined;
      sleepUntil(renewal);
    } catch (error) {
      fail(error, () => Math.min(renewal, now() + SAVE_AGAIN_MS));
    }
  };

  const attempt = async (): Promise<void> => {
    failures += 1;
    attempts = [...attempts.filter((at) => at > now() - WINDOW_MS), now()];
    try {
      // Before anyone is asked: a process that ends in the middle has tried, too.
      await store.putAttempts(directory, attempts);
      const fresh = await issuer.issue(order, closed.signal);
      failures = 0;
      lastFailure = undefined;
      isTemporary = false;
      certificate = fresh;
      use(fresh);
      log.issued(fresh);
      await save(fresh);
    } catch (error) {
      if (closed.signal.aborted) return;
      fail(error, (retryAfter) => retryTime({ failures, attempts, retryAfter }, now(), random()));
    }
  };

  const isDue = (): boolean => renewalTime(certificate, 1) <= now();
  const work = (): Promise<void> => {
    running ??= (unsaved !== undefined && !isDue() ? save(unsaved) : attempt()).finally(() => {
      running = undefined;
    });
    return running;
  };
  const alarm = createAlarm(now, () => void work());

  return {
    certificate,
    start(show) {
      use = show;
      const isFirst = isTemporary || !isFor(certificate, domains);
      const due = isFirst ? now() : renewalTime(certificate, random());
      sleepUntil(Math.max(due, retryTime({ failures: 0, attempts, retryAfter: 0 }, now(), 0)));
    },
    async reload() {
      // What is under way ends with an alarm of its own, which would take the place of this one.
      await running;
      const isGone = (await store.certificate(directory)) === undefined;
      if (!isGone && lastFailure === undefined) return;
      sleepUntil(retryTime({ failures: 0, attempts, retryAfter: 0 }, now(), 0));
    },
    status: () => ({
      state: isTemporary ? 'temporary' : stateOf(certificate, now()),
      notAfter: certificate.notAfter,
      lastFailure,
      nextAttempt,
    }),
    async close() {
      closed.abort();
      alarm.clear();
      await running;
    },
  };
}

function failureOf(error: unknown): IssueError['failure'] {
  if (error instanceof IssueError) return error.failure;
  const { message } = error as Error;
  return {
    code: 'store-failed',
    message: `The state folder cannot be written: ${message}; make room in it, or make it writable.`,
    retryAfter: undefined,
  };
}

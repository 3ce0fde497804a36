import { createWallClockTimer } from '../../util/wall-clock-timer.ts';
import { type Certificate, isFor } from '../certificate.ts';
import { type CertificateFailure, type CertificateProvider, stateOf } from '../certificate-provider.ts';
import {
  ATTEMPTS,
  fallbackTime,
  LONGEST_DELAY_MS,
  nextRenewalTime,
  renewalInfoDelay,
  renewalTime,
  retryTime,
  suggestedRenewalTime,
  WINDOW_MS,
} from '../schedule.ts';
import { temporaryCertificate } from '../self-signed-provider.ts';
import type { CertificateStore } from '../stores/certificate-store.ts';
import { explainStoreError } from './explain-failure.ts';
import { type CertificateIssuer, type CertificateOrder, IssueError, type IssueFailure } from './issuer.ts';
import { type ReadRenewalInfo, type RenewalInfo, renewalInfoId } from './renewal-info.ts';

export interface AcmeProviderOptions {
  readonly order: CertificateOrder;
  /** The order at another authority, if the first one fails for two days. */
  readonly fallback?: CertificateOrder | undefined;
  readonly issuer: CertificateIssuer;
  readonly store: CertificateStore;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** From 0 to 1. */
  readonly random: () => number;
  /**
   * With a shared store, elects one process to order, and throws if that cannot be decided. The process stays elected
   * until it has a certificate, so that it knows the number and causes of failures.
   */
  readonly lock?: (() => Promise<Disposable | undefined>) | undefined;
  /** Asks the authority when to renew. */
  readonly renewalInfo?: ReadRenewalInfo | undefined;
  readonly log: AcmeLog;
}

export interface AcmeLog {
  /** A self-signed certificate is shown until there is a real one. */
  temporary(certificate: Certificate): void;
  issued(certificate: Certificate): void;
  /** Called when another process has obtained a certificate. */
  adopted(certificate: Certificate): void;
  /** Called when an attempt has failed, with the time of the next one. */
  failed(failure: CertificateFailure, next: number): void;
  /** Called when too many failures delay the first attempt, with the time of the next one. */
  exhausted(failure: CertificateFailure, next: number): void;
  /** Called when the authority asked an earlier process to wait, with the time of the next attempt. */
  waiting(failure: CertificateFailure, next: number): void;
}

/** Failures after which another authority may issue. */
const AUTHORITY_FAULTS = new Set<IssueFailure['code']>([
  ...(['ca-unreachable', 'ca-slow', 'ca-failed'] as const),
  ...(['ca-rate-limited', 'ca-refused', 'account-refused'] as const),
]);

/** Milliseconds until a certificate that could not be saved is saved again. */
const SAVE_AGAIN_MS = 600_000;
/** Milliseconds between two polls of the store, for certificates of other processes and requests of operators. */
const LOOK_MS = 2000;
/** Milliseconds until a store that others share is tried again. */
const SHARE_AGAIN_MS = 60_000;
/** Milliseconds within which replicas read renewal information, so that the first one reads it for all. */
const INQUIRY_SPREAD_MS = 60_000;

/** Serves a certificate of an ACME authority and renews it in time, for years. */
export async function createAcmeProvider(options: AcmeProviderOptions): Promise<CertificateProvider> {
  const { order, fallback, issuer, store, now, random, lock, log, renewalInfo } = options;
  const { directory, domains } = order;
  const closed = new AbortController();
  let use: (certificate: Certificate) => void = () => {};
  /**
   * The operation in progress. Operations run one at a time, because each continues from the state that the previous
   * one left.
   */
  let running: Promise<void> = Promise.resolve();
  let failures = 0;
  let unsaved: Certificate | undefined;
  let lastFailure: CertificateFailure | undefined;
  let nextAttempt: number | undefined;
  let held: Disposable | undefined;
  let isForced = false;
  /** True if an operator has requested an attempt, which ignores the wait that the authority asked for. */
  let isUrgent = false;
  /** The renewal that the authority suggests for the certificate in use. */
  let suggestion: { readonly start: number; readonly end: number; readonly time: number } | undefined;
  /** The time of the last order that the authority suggested. */
  let suggestedOrder: number | undefined;
  let attempts = await store.attempts(directory);
  /** The last failure of another process, or of this service before its restart. */
  let inherited: CertificateFailure | undefined;
  /** The time of the first of the authority's failures in a row, over restarts. */
  let failingSince: number | undefined;
  let isFallbackNext = true;
  let lastLook = now();
  /** The time until which each authority asks to wait, by its directory, in milliseconds since the epoch. */
  const waits = new Map<string, number>();
  const inherit = (failure: CertificateFailure | undefined): void => {
    inherited = failure;
    failingSince = failure?.since;
    waits.clear();
    for (const [authority, time] of Object.entries(failure?.waits ?? {})) waits.set(authority, time);
  };
  inherit(await store.failure(directory).catch(() => undefined));

  // Reports damage here, because greenlock reads the account in its thread.
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
  /**
   * Orders when due, unless too many attempts have failed, or the authority asks to wait. Attempts of other processes
   * are only in the store.
   */
  const sleepUntilAllowed = (due: number): void => {
    const at = now();
    const earliest = Math.max(due, at);
    const allowed = nextAttemptTime(0, at);
    sleepUntil(Math.max(due, allowed));
    if (allowed <= earliest) return;
    const cause = lastFailure ?? inherited;
    const isExhausted = allowed <= retryTime({ failures: 0, attempts, retryAfter: 0 }, at, 0);
    if (cause !== undefined && !isExhausted) {
      lastFailure = cause;
      log.waiting(cause, allowed);
      return;
    }
    lastFailure ??= {
      at: attempts.at(-1) ?? at,
      code: 'too-many-attempts',
      message: `${ATTEMPTS} attempts in the last hour have failed.`,
    };
    log.exhausted(lastFailure, allowed);
  };
  const fail = async (
    error: unknown,
    next: (retryAfter: number | undefined) => number,
    asked = order,
  ): Promise<void> => {
    const { code, message, retryAfter } = failureOf(error);
    // A failure of the fallback does not mean that the first authority works.
    if (asked === order)
      failingSince = AUTHORITY_FAULTS.has(code) ? Math.min(failingSince ?? now(), now()) : undefined;
    const time = next(retryAfter);
    lastFailure = {
      ...{ at: now(), code, message, since: failingSince },
      waits: waits.size === 0 ? undefined : Object.fromEntries(waits),
    };
    sleepUntil(time);
    log.failed(lastFailure, time);
    // Only a report for `dockerproxy certificate`.
    await store.putFailure(directory, lastFailure).catch(() => {});
  };

  /** If the disk cannot store the certificate, it is served from memory. */
  const save = async (fresh: Certificate): Promise<void> => {
    const renewal = nextRenewalTime(fresh, now(), random());
    try {
      unsaved = fresh;
      await store.putCertificate(directory, fresh);
      attempts = [];
      await store.putAttempts(directory, attempts);
      unsaved = undefined;
      lastFailure = undefined;
      releaseLock();
      sleepUntil(renewal);
      await store.putFailure(directory, undefined).catch(() => {});
    } catch (error) {
      await fail(error, () => Math.min(renewal, now() + SAVE_AGAIN_MS));
    }
  };

  const show = (fresh: Certificate): void => {
    failures = 0;
    inherit(undefined);
    isFallbackNext = true;
    lastFailure = undefined;
    isTemporary = false;
    isForced = false;
    isUrgent = false;
    certificate = fresh;
    suggestion = undefined;
    use(fresh);
    if (renewalInfo !== undefined) inquiries.set(now() + renewalInfoDelay(0));
  };
  /** Release the lock only after other processes can read the result. */
  const releaseLock = (): void => {
    held?.[Symbol.dispose]();
    held = undefined;
  };

  /** Takes a certificate that another process obtained; false without a better one. */
  const adopt = async (): Promise<boolean> => {
    const found = await store.certificate(directory);
    if (found === undefined || !isFor(found, domains) || found.fingerprint === certificate.fingerprint)
      return false;
    if (!isTemporary && isFor(certificate, domains) && found.notAfter < certificate.notAfter) return false;
    show(found);
    releaseLock();
    log.adopted(found);
    sleepUntil(nextRenewalTime(found, now(), random()));
    return true;
  };

  /** The time from which the fallback is asked, too; undefined without one, or while the authority does not fail. */
  const fallbackDue = (): number | undefined =>
    fallback && failingSince && fallbackTime(failingSince, isTemporary ? undefined : certificate.notAfter);
  const waitOf = (asked: CertificateOrder, at = now()): number => {
    const wait = (waits.get(asked.directory) ?? 0) - at;
    // A longer wait was stored while the clock was wrong.
    return isUrgent || wait > 2 * LONGEST_DELAY_MS ? 0 : Math.max(wait, 0);
  };
  /** Alternates between the two authorities once the first has failed for too long, unless only one asks to wait. */
  const nextOrder = (): CertificateOrder => {
    const due = fallbackDue();
    if (fallback === undefined || due === undefined || due > now()) return order;
    const [wanted, other] = isFallbackNext ? [fallback, order] : [order, fallback];
    const next = waitOf(wanted) > 0 && waitOf(other) === 0 ? other : wanted;
    isFallbackNext = next === order;
    return next;
  };
  /**
   * The earliest time at which an authority accepts an order.
   *
   * @param failures the number of failures in a row; 0 to order as soon as that is allowed
   */
  const nextAttemptTime = (failures: number, at: number): number => {
    const chance = random();
    const retry = (asked: CertificateOrder): number =>
      retryTime({ failures, attempts, retryAfter: waitOf(asked, at) }, at, chance);
    const due = fallbackDue();
    if (fallback === undefined || due === undefined) return retry(order);
    return Math.min(retry(order), due > at ? due : retry(fallback));
  };

  const attempt = async (): Promise<void> => {
    failures += 1;
    attempts = [...attempts.filter((at) => at > now() - WINDOW_MS), now()];
    let asked = order;
    try {
      // Record the attempt before the request, so that it counts even if the process ends meanwhile.
      await store.putAttempts(directory, attempts);
      if (suggestion !== undefined) {
        const { fingerprint } = certificate;
        suggestedOrder = now();
        const stored = { ...suggestion, fingerprint, askAt: suggestedOrder, orderedAt: suggestedOrder };
        await store.putSuggestion(directory, stored);
      }
      const replaces = suggestion && renewalInfoId(certificate);
      asked = nextOrder();
      isUrgent = false;
      const fresh = await issuer.issue({ ...asked, ...(asked === order && { replaces }) }, closed.signal);
      show(fresh);
      log.issued(fresh);
      await save(fresh);
    } catch (error) {
      if (closed.signal.aborted) return;
      const next = (retryAfter: number | undefined): number => {
        if (retryAfter !== undefined) waits.set(asked.directory, now() + retryAfter);
        return nextAttemptTime(failures, now());
      };
      await fail(error, next, asked);
    }
  };

  /**
   * Tries to take the lock, and then continues from the failures of its previous owner. Returns false if another process
   * has the lock.
   */
  const elect = async (take: NonNullable<typeof lock>): Promise<boolean> => {
    if (held !== undefined) return true;
    held = await take();
    if (held === undefined) return false;
    inherit(await store.failure(directory));
    return true;
  };
  /** Lets one of the processes that share the store order a certificate. */
  const attemptAlone = async (take: NonNullable<typeof lock>): Promise<void> => {
    // Another process may have obtained the certificate meanwhile.
    if (!isWanted()) return;
    try {
      if (!(await elect(take))) {
        isUrgent = false;
        return sleepUntil(now() + LOOK_MS);
      }
      // The previous owner of the lock may have stored the wanted certificate.
      if (await adopt()) return;
      attempts = await store.attempts(directory);
      const at = now();
      if (nextAttemptTime(0, at) > at) return sleepUntilAllowed(at);
    } catch (error) {
      return fail(error, () => now() + SHARE_AGAIN_MS);
    }
    await attempt();
  };
  const getNext = (): Promise<void> => (lock === undefined ? attempt() : attemptAlone(lock));

  const isDue = (): boolean =>
    suggestion === undefined ? renewalTime(certificate, 1) <= now() : suggestion.time <= now();
  const isWanted = (): boolean => isTemporary || isForced || isDue() || !isFor(certificate, domains);
  const inOrder = (job: () => Promise<void>): Promise<void> => {
    running = running.then(job);
    return running;
  };
  const work = (): Promise<void> =>
    inOrder(() => (unsaved !== undefined && !isDue() ? save(unsaved) : getNext()));
  const alarm = createWallClockTimer(now, () => void work());
  /**
   * Renews if an operator has requested it by `dockerproxy certificate renew`. A process keeps the lock after a failure.
   * Until then, other processes leave the request to that process, because only that one can order.
   */
  const takeRequest = async (): Promise<void> => {
    if ((await store.request(directory)) === undefined) return;
    if (lock !== undefined && !(await elect(lock))) return;
    await store.putRequest(directory, undefined);
    isForced = true;
    isUrgent = true;
    sleepUntilAllowed(now());
  };
  /** Computes the next attempt again if the clock was set back. It could otherwise be decades away. */
  const followClock = (): void => {
    if (now() < lastLook - LOOK_MS && unsaved === undefined) {
      suggestion = undefined;
      inquiries.set(now());
      sleepUntilAllowed(isWanted() ? now() : renewalTime(certificate, random()));
    }
    lastLook = now();
  };
  const look = async (): Promise<void> => {
    // After an unreadable store, check again soon, and report it when an order is due.
    await inOrder(async () => {
      followClock();
      if (lock !== undefined) await adopt().catch(() => {});
      await takeRequest().catch(() => {});
    });
    if (!closed.signal.aborted) looks.set(now() + LOOK_MS);
  };
  const looks = createWallClockTimer(now, () => void look());
  /** An authority that always suggests the past gets an order every six hours, and not without end. */
  const follow = ({ start, end }: RenewalInfo): void => {
    if (start === suggestion?.start && end === suggestion.end) return;
    // A time in the future was stored while the clock was wrong.
    const ordered = suggestedOrder !== undefined && suggestedOrder <= now() ? suggestedOrder : undefined;
    const earliest = ordered === undefined ? 0 : ordered + renewalInfoDelay(undefined);
    const time = Math.max(suggestedRenewalTime(certificate, { start, end }, now(), random()), earliest);
    suggestion = { start, end, time };
    if (lastFailure === undefined) sleepUntilAllowed(time);
  };
  /**
   * Returns the renewal information for a certificate. Until the authority wants to be asked again, by any process, the
   * store has it. Undefined for an expired certificate, because RFC 9773 permits no request about it.
   */
  const suggestionFor = async (
    subject: Certificate,
    read: ReadRenewalInfo,
  ): Promise<RenewalInfo | undefined> => {
    if (isTemporary || subject.notAfter <= now()) return undefined;
    const { fingerprint } = subject;
    const stored = await store.suggestion(directory).catch(() => undefined);
    suggestedOrder = stored?.orderedAt ?? suggestedOrder;
    const wait = stored?.fingerprint === fingerprint ? stored.askAt - now() : 0;
    // A longer wait was stored while the clock was wrong.
    if (stored !== undefined && wait > 0 && wait < 2 * LONGEST_DELAY_MS)
      return { start: stored.start, end: stored.end, retryAfter: wait };
    const info = await read(subject, closed.signal).catch(() => undefined);
    if (info?.retryAfter === undefined) return info;
    const askAt = now() + renewalInfoDelay(info.retryAfter);
    const { start, end } = info;
    const fresh = { fingerprint, start, end, askAt, orderedAt: suggestedOrder };
    // Without a stored suggestion, the authority is only asked again too soon.
    await store.putSuggestion(directory, fresh).catch(() => {});
    return info;
  };
  /** If the authority does not answer, the certificate is renewed by its lifetime. */
  const inquire = async (read: ReadRenewalInfo): Promise<void> => {
    const subject = certificate;
    const info = await suggestionFor(subject, read);
    await inOrder(async () => {
      if (info !== undefined && subject === certificate) follow(info);
    });
    const spread = lock === undefined ? 0 : random() * INQUIRY_SPREAD_MS;
    if (!closed.signal.aborted) inquiries.set(now() + renewalInfoDelay(info?.retryAfter) + spread);
  };
  const inquiries = createWallClockTimer(now, () => renewalInfo && void inquire(renewalInfo));

  return {
    certificate,
    start(shown) {
      use = shown;
      looks.set(now() + LOOK_MS);
      const isFirst = isTemporary || !isFor(certificate, domains);
      const due = isFirst ? now() : renewalTime(certificate, random());
      sleepUntilAllowed(due);
      if (renewalInfo !== undefined && !isFirst) inquiries.set(now());
    },
    async reload() {
      // The current operation sets a timer when it ends, which would replace this one.
      await running;
      const isGone = (await store.certificate(directory)) === undefined;
      if (!isGone && lastFailure === undefined) return;
      isForced ||= isGone;
      isUrgent = true;
      sleepUntilAllowed(now());
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
      looks.clear();
      inquiries.clear();
      await running;
      releaseLock();
    },
  };
}

function failureOf(error: unknown): IssueError['failure'] {
  if (error instanceof IssueError) return error.failure;
  const storeFailure = explainStoreError(error as Error);
  if (storeFailure !== undefined) return storeFailure;
  const { message } = error as Error;
  return {
    code: 'unexpected',
    message: `DockerProxy has made a mistake: ${message}.`,
    retryAfter: undefined,
  };
}

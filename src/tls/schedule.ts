import { withJitter } from '../util/backoff.ts';
import type { Certificate } from './certificate.ts';

/**
 * The remaining share of a certificate's lifetime at which the next one is ordered, and the maximum random share before
 * that.
 */
const LEFT_AT_RENEWAL = 1 / 3;
const JITTER = 1 / 30;

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

/** Milliseconds between a failure and the next attempt: the first, the second … failure in a row. */
const DELAYS_MS = [15 * SECOND_MS, 4 * MINUTE_MS, 16 * MINUTE_MS, HOUR_MS, 4 * HOUR_MS] as const;
/** The longest wait that an authority can ask for, in milliseconds. */
export const LONGEST_DELAY_MS = 24 * HOUR_MS;
const DELAY_JITTER = 0.2;

/**
 * Let's Encrypt takes five failed validations of a name in an hour.
 *
 * @see https://letsencrypt.org/docs/rate-limits/#authorization-failures-per-hostname-per-account
 */
export const ATTEMPTS = 5;
export const WINDOW_MS = HOUR_MS;

/**
 * Computes the time of the next order, in milliseconds since the epoch. It is when a third of the lifetime is left, or
 * a little earlier, so that certificates from the same time do not renew together.
 *
 * @param random from 0 to 1
 */
export function renewalTime(
  { notBefore, notAfter }: Pick<Certificate, 'notBefore' | 'notAfter'>,
  random: number,
): number {
  const lifetime = notAfter - notBefore;
  return notAfter - lifetime * (LEFT_AT_RENEWAL + JITTER * random);
}

/**
 * Computes the time of the order after a certificate was just issued. If this machine's clock is ahead, each
 * certificate looks old at once. Then it waits for part of the lifetime, to spare the authority.
 *
 * @param random from 0 to 1
 */
export function nextRenewalTime(
  certificate: Pick<Certificate, 'notBefore' | 'notAfter'>,
  now: number,
  random: number,
): number {
  const lifetime = certificate.notAfter - certificate.notBefore;
  return Math.max(renewalTime(certificate, random), now + lifetime * JITTER);
}

export interface FailedAttempts {
  /** The number of consecutive failures since the process started. */
  readonly failures: number;
  /** The start times of failed attempts, across restarts, in milliseconds since the epoch. */
  readonly attempts: readonly number[];
  /** Milliseconds that the authority asks to wait. */
  readonly retryAfter: number | undefined;
}

/**
 * Computes the time of the next attempt after a failure, in milliseconds since the epoch. The delay grows, respects the
 * authority's Retry-After, and allows at most five attempts in an hour, across restarts.
 *
 * @param random from 0 to 1
 */
export function retryTime(
  { failures, attempts, retryAfter = 0 }: FailedAttempts,
  now: number,
  random: number,
): number {
  const usual = failures === 0 ? 0 : (DELAYS_MS[Math.min(failures, DELAYS_MS.length) - 1] ?? 0);
  const delay = Math.max(withJitter(usual, random, DELAY_JITTER), Math.min(retryAfter, LONGEST_DELAY_MS));
  // A time in the future is from a wrong clock.
  const recent = attempts.filter((at) => at > now - WINDOW_MS && at <= now);
  const oldest = recent.at(-ATTEMPTS);
  return Math.max(now + delay, oldest === undefined ? 0 : oldest + WINDOW_MS);
}

const FALLBACK_MS = 48 * HOUR_MS;

/**
 * Computes the time from which another authority is asked, in milliseconds since the epoch. It is two days after the
 * first failure, or when half of the remaining validity is over, if that is sooner.
 *
 * @param since the time of the first failure
 * @param notAfter undefined without a certificate
 */
export function fallbackTime(since: number, notAfter: number | undefined): number {
  const left = notAfter === undefined ? Number.POSITIVE_INFINITY : Math.max(notAfter - since, 0);
  return since + Math.min(FALLBACK_MS, left / 2);
}

/** The part of the lifetime that is left at the latest, even if the authority suggests to renew later. */
const LEAST_LEFT = 1 / 6;

/**
 * Selects the time of a renewal in the window that the authority suggests, in milliseconds since the epoch. A window in
 * the past means at once: the certificate is or will be revoked.
 *
 * @param random from 0 to 1
 * @see https://www.rfc-editor.org/rfc/rfc9773#section-4.2
 */
export function suggestedRenewalTime(
  { notBefore, notAfter }: Pick<Certificate, 'notBefore' | 'notAfter'>,
  { start, end }: { readonly start: number; readonly end: number },
  now: number,
  random: number,
): number {
  const latest = notAfter - (notAfter - notBefore) * LEAST_LEFT;
  return end <= now ? now : Math.min(start + (end - start) * random, latest);
}

const LEAST_ARI_DELAY_MS = MINUTE_MS;
const ARI_DELAY_MS = 6 * HOUR_MS;

/** Computes the milliseconds until renewal information is read again: by default six hours, from a minute to a day. */
export function renewalInfoDelay(retryAfter: number | undefined): number {
  return Math.min(Math.max(retryAfter ?? ARI_DELAY_MS, LEAST_ARI_DELAY_MS), LONGEST_DELAY_MS);
}

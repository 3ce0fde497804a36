import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { Config } from '../config/schema.ts';
import type { Redis } from '../redis/redis.ts';
import { formatDuration } from '../util/duration.ts';
import { localUrl } from '../util/local-url.ts';
import { openDiskStore, openOrders, renewalInfoReaderOf } from './acme.ts';
import { readReport, readShownCertificate } from './running-service.ts';

/** A report for `dockerproxy certificate status`. */
export interface StatusReport {
  /** Lines of text. */
  readonly text: string;
  /** True if the certificate is valid now and is not a temporary one. */
  readonly isValid: boolean;
}

const DAY_MS = 86_400_000;

/**
 * Describes the certificate in use, the next order, the renewal that the authority suggests, and the last failure.
 *
 * @param now milliseconds since the epoch
 */
export async function describeStatus(
  config: Config,
  {
    logger,
    redis,
    now,
  }: { readonly logger: Logger; readonly redis: Redis | undefined; readonly now: number },
  signal: AbortSignal,
): Promise<StatusReport> {
  if (config.tls === 'off') return { text: 'TLS is off. The service has no certificate.\n', isValid: true };
  const report = await readReport(config, signal);
  const shown = await readShownCertificate(config, signal);
  const store = config.tls === 'acme' ? (await openOrders(config, logger, redis)).store : undefined;
  const pem = shown ?? (await readStored(config, logger));
  const next = report?.nextAttempt === undefined ? '' : `; next order ${report.nextAttempt}`;
  const lines = [
    report === undefined
      ? `Service: does not respond at ${localUrl(config.host, config.port)}; these lines describe the stored certificate`
      : `Service: certificate ${report.state}${next}`,
    ...describeCertificate(pem, now),
  ];
  if (store !== undefined) {
    lines.push(await describeSuggestion(config, pem, now, signal));
    const failure = await store.failure(config.acmeDirectory);
    lines.push(
      failure === undefined
        ? 'Last failure: none since the last success'
        : `Last failure: ${iso(failure.at)}, ${failure.code}: ${failure.message}`,
    );
  }
  const isTemporary = report?.state === 'temporary';
  const isValid = pem !== undefined && !isTemporary && new X509Certificate(pem).validToDate.getTime() > now;
  return { text: `${lines.join('\n')}\n`, isValid };
}

async function readStored(config: Config, logger: Logger): Promise<string | undefined> {
  const { tls, tlsCertFile, acmeDirectory } = config;
  if (tls === 'files') return tlsCertFile && (await readFile(tlsCertFile, 'utf8'));
  const authority = tls === 'acme' ? acmeDirectory : 'self-signed';
  return (await openDiskStore(config, logger).certificate(authority))?.cert;
}

function describeCertificate(pem: string | undefined, now: number): string[] {
  if (pem === undefined) return ['Certificate: none'];
  const { subjectAltName, issuer, validFromDate, validToDate, fingerprint256 } = new X509Certificate(pem);
  const names = (subjectAltName ?? '').replaceAll(/DNS:|IP Address:/g, '');
  const left = validToDate.getTime() - now;
  return [
    `Certificate: for ${names}, issued by ${issuer.replaceAll('\n', ', ')}`,
    `Valid: from ${validFromDate.toISOString()} until ${validToDate.toISOString()}, ${left > 0 ? `${describeSpan(left)} left` : `expired ${describeSpan(-left)} ago`}`,
    `SHA-256: ${fingerprint256}`,
  ];
}

async function describeSuggestion(
  config: Config,
  cert: string | undefined,
  now: number,
  signal: AbortSignal,
): Promise<string> {
  const title = 'Renewal information (ARI):';
  if (cert === undefined) return `${title} none without a certificate`;
  try {
    const info = await renewalInfoReaderOf(config)({ cert }, signal);
    if (info === undefined) return `${title} the authority offers none for this certificate`;
    if (info.end <= now)
      return `${title} the authority has revoked the certificate, or suggests a renewal at once`;
    return `${title} the authority suggests a renewal between ${iso(info.start)} and ${iso(info.end)}`;
  } catch (error) {
    signal.throwIfAborted();
    return `${title} cannot be read: ${(error as Error).message}`;
  }
}

function describeSpan(milliseconds: number): string {
  const days = Math.floor(milliseconds / DAY_MS);
  return days > 1 ? `${days} days` : formatDuration(milliseconds);
}

function iso(time: number): string {
  return new Date(time).toISOString();
}

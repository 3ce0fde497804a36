import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { ConfigError } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import type { Redis } from '../redis/redis.ts';
import type { Check, ReadinessCheck } from '../telemetry/readiness.ts';
import { type AlpnCallback, createAlpnCallback } from '../tls/acme/alpn-callback.ts';
import type { Certificate } from '../tls/certificate.ts';
import {
  type CertificateFailure,
  type CertificateProvider,
  createNoCertificate,
} from '../tls/certificate-provider.ts';
import { createFilesProvider } from '../tls/files-provider.ts';
import { ATTEMPTS } from '../tls/schedule.ts';
import { createSelfSignedProvider } from '../tls/self-signed-provider.ts';
import { followAlpnChallenges } from '../tls/stores/alpn-challenge-store.ts';
import { removeUnfinished } from '../util/atomic-file.ts';
import {
  type ChallengeAnswers,
  createIssuer,
  fallbackOf,
  type OrderEnvironment,
  openAnswers,
  openDiskStore,
  openOrders,
  orderOf,
  renewalInfoReaderOf,
  responderOf,
  type SharedOrders,
} from './acme.ts';

/** Milliseconds. Writing a file never takes that long. */
const UNFINISHED_MS = 3_600_000;

/** The source of the certificate, and the parts that belong to it. */
export interface Certificates {
  readonly provider: CertificateProvider;
  /** The answer to a challenge of an ACME authority. */
  readonly challenge: (token: string) => Promise<string | undefined>;
  /** Selects the protocol of a TLS connection, and answers challenges there; undefined without an ACME authority. */
  readonly alpn: AlpnCallback | undefined;
  readonly check: Check;
}

/** Follows the certificate of another process, which renews it. */
export function followCertificates(
  config: Config,
  provider: CertificateProvider,
  check: Check,
  redis: Redis | undefined,
): Certificates {
  return { provider, check, ...answersOf(config, openAnswers(config, redis)) };
}

/**
 * Opens the source of the certificate.
 *
 * @param redis if replicas share it
 * @throws ConfigError if the first certificate is missing
 */
export async function createCertificates(
  config: Config,
  environment: OrderEnvironment,
  redis: Redis | undefined,
): Promise<Certificates> {
  const answers = openAnswers(config, redis);
  try {
    await removeUnfinished(join(config.stateDir, 'tls'), Date.now() - UNFINISHED_MS);
    if (config.tls === 'acme') {
      await answers.http.removeAbandoned(Date.now());
      await answers.alpn.removeAbandoned(Date.now());
    }
    const provider = await createProvider(config, answers, environment, redis);
    return { provider, check: () => checkOf(provider), ...answersOf(config, answers) };
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { message } = error as Error;
    throw new ConfigError([
      config.tls === 'files'
        ? message
        : `The state folder ${config.stateDir} cannot be used: ${message}. Set another one with --state-dir.`,
    ]);
  }
}

function answersOf(
  { tls }: Config,
  { http, alpn }: ChallengeAnswers,
): Omit<Certificates, 'provider' | 'check'> {
  return {
    challenge: (token) => http.get(token),
    alpn: tls === 'acme' ? createAlpnCallback(alpn.find, Date.now) : undefined,
  };
}

async function createProvider(
  config: Config,
  answers: ChallengeAnswers,
  environment: OrderEnvironment,
  redis: Redis | undefined,
): Promise<CertificateProvider> {
  const { logger } = environment;
  const { tls, tlsCertFile: certFile, tlsKeyFile: keyFile } = config;
  const clock = { now: Date.now, random: Math.random };
  if (tls === 'files' && certFile !== undefined && keyFile !== undefined) {
    return createFilesProvider({ ...clock, certFile, keyFile, log: filesLog(logger) });
  }
  if (tls === 'self-signed') {
    const log = {
      made: (made: Certificate) =>
        logger.warn(`A self-signed certificate was made, ${describe(made)}, SHA-256 ${made.fingerprint}`),
      unsaved: ({ message }: CertificateFailure) => logger.warn(`${message} A restart will make another one`),
    };
    const names = selfSignedNames(config, [hostname().toLowerCase()]);
    // A recreated container has a new name, but clients trust its certificate by the fingerprint.
    const neededNames = selfSignedNames(config, []);
    return createSelfSignedProvider({
      ...clock,
      names,
      neededNames,
      store: openDiskStore(config, logger),
      log,
    });
  }
  if (tls !== 'acme') return createNoCertificate();
  const provider = await startAcme(config, await openOrders(config, logger, redis), answers, environment);
  if (redis === undefined) return provider;
  const following = followAlpnChallenges(redis, openAnswers(config, undefined).alpn);
  return {
    ...provider,
    async close() {
      following[Symbol.dispose]();
      await provider.close();
    },
  };
}

/** Loads the code for ACME only when needed. The threads of the issuers load the clients. */
async function startAcme(
  config: Config,
  { store, lock }: SharedOrders,
  answers: ChallengeAnswers,
  environment: OrderEnvironment,
): Promise<CertificateProvider> {
  const { logger } = environment;
  const { createAcmeProvider } = await import('../tls/acme/acme-provider.ts');
  const order = orderOf(config);
  const { directory, domains } = order;
  return createAcmeProvider({
    order,
    fallback: fallbackOf(config),
    renewalInfo: renewalInfoReaderOf(config),
    issuer: await createIssuer(
      config,
      { accounts: store, challenges: responderOf(config, answers, environment) },
      logger,
    ),
    store,
    lock,
    now: Date.now,
    random: Math.random,
    log: {
      temporary: () =>
        logger.warn(
          `No certificate for ${domains.join(', ')} yet. HTTPS starts with a temporary self-signed one, until ${directory} issues another`,
        ),
      issued: (certificate) => logger.info(`New certificate: ${describe(certificate)}`),
      adopted: (certificate) =>
        logger.info(`New certificate, ordered by another replica: ${describe(certificate)}`),
      failed: ({ code, message }, next) =>
        logger.error(
          { code },
          `${message} [${code}] The certificate in use stays; next attempt ${iso(next)}`,
        ),
      exhausted: ({ code }, next) =>
        logger.warn({ code }, `${ATTEMPTS} attempts in the last hour have failed; next attempt ${iso(next)}`),
      waiting: ({ code, message }, next) =>
        logger.warn({ code }, `${message} [${code}] The CA asks to wait; next attempt ${iso(next)}`),
    },
  });
}

function filesLog(logger: Logger) {
  return {
    reloaded: (certificate: Certificate) => logger.info(`New certificate: ${describe(certificate)}`),
    kept: ({ code, message }: CertificateFailure) =>
      logger.error({ code }, `${message} [${code}] The certificate in use stays`),
  };
}

/** The names of a server that has no name in DNS. */
function selfSignedNames({ domains, host }: Config, own: readonly string[]): readonly string[] {
  const isAddress = isIP(host) !== 0 && host !== '0.0.0.0' && host !== '::';
  const names = [...domains, ...own, 'localhost', '127.0.0.1', '::1', ...(isAddress ? [host] : [])];
  return [...new Set(names)];
}

function checkOf(provider: CertificateProvider): ReadinessCheck {
  const { state, notAfter, lastFailure, nextAttempt } = provider.status();
  return {
    isReady: state === 'valid' || state === 'off',
    details: {
      state,
      ...(notAfter !== undefined && { notAfter: iso(notAfter) }),
      ...(nextAttempt !== undefined && { nextAttempt: iso(nextAttempt) }),
      // The sentence is only for the log, because it can contain paths.
      ...(lastFailure !== undefined && { lastFailure: { code: lastFailure.code, at: iso(lastFailure.at) } }),
    },
  };
}

function describe({ names, notAfter }: Certificate): string {
  return `for ${names.join(', ')}, valid until ${iso(notAfter)}`;
}

function iso(time: number): string {
  return new Date(time).toISOString();
}

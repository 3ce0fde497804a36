import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { ConfigError } from '../config/loader.ts';
import { readPem, readSecret, redisKeyOf } from '../config/redis-secrets.ts';
import type { Config } from '../config/schema.ts';
import type { Redis } from '../redis/redis.ts';
import { createRedisLocks } from '../redis/redis-locks.ts';
import type { Check, ReadinessCheck } from '../telemetry/readiness.ts';
import type { CertificateIssuer, CertificateOrder } from '../tls/acme/issuer.ts';
import type { AcmeClient } from '../tls/acme/thread-issuer.ts';
import type { OrderStores } from '../tls/acme/thread-stores.ts';
import type { Certificate } from '../tls/certificate.ts';
import {
  type CertificateFailure,
  type CertificateProvider,
  createNoCertificate,
} from '../tls/certificate-provider.ts';
import { createFilesProvider } from '../tls/files-provider.ts';
import { ATTEMPTS } from '../tls/schedule.ts';
import { createSelfSignedProvider } from '../tls/self-signed-provider.ts';
import {
  type CertificateStore,
  createCertificateStore,
  createDiskStore,
} from '../tls/stores/certificate-store.ts';
import {
  type ChallengeStore,
  createDiskChallenges,
  createSharedChallenges,
} from '../tls/stores/challenge-store.ts';
import { createEncryptedRedisStore, SharedStoreError } from '../tls/stores/encrypted-redis-store.ts';
import { createSharedCertificateStore } from '../tls/stores/shared-certificate-store.ts';
import { removeUnfinished } from '../util/atomic-file.ts';

/** Milliseconds. Nothing takes that long to write. */
const UNFINISHED_MS = 3_600_000;

/** The source of the certificate, and the parts that belong to it. */
export interface Certificates {
  readonly provider: CertificateProvider;
  /** The answer to a challenge of an ACME authority. */
  readonly challenge: (token: string) => Promise<string | undefined>;
  readonly check: Check;
}

/** The certificate of another process, which renews it. */
export function followCertificates(
  config: Config,
  provider: CertificateProvider,
  check: Check,
  redis: Redis | undefined,
): Certificates {
  const challenges = challengesOf(config, redis);
  return { provider, challenge: (token) => challenges.get(token), check };
}

/**
 * Begins to look after a certificate.
 *
 * @param redis if replicas share it
 * @throws ConfigError if the first certificate is missing
 */
export async function createCertificates(
  config: Config,
  logger: Logger,
  redis: Redis | undefined,
): Promise<Certificates> {
  const challenges = challengesOf(config, redis);
  try {
    await removeUnfinished(join(config.stateDir, 'tls'), Date.now() - UNFINISHED_MS);
    if (config.tls === 'acme') await challenges.removeAbandoned(Date.now());
    const provider = await createProvider(config, challenges, logger, redis);
    return { provider, challenge: (token) => challenges.get(token), check: () => checkOf(provider) };
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

/** All processes that answer for a domain share the folder, or a Redis. */
function challengesOf({ stateDir }: Config, redis: Redis | undefined): ChallengeStore {
  const own = createDiskChallenges(join(stateDir, 'tls', 'challenges'));
  return redis === undefined ? own : createSharedChallenges(redis, own);
}

async function createProvider(
  config: Config,
  challenges: ChallengeStore,
  logger: Logger,
  redis: Redis | undefined,
): Promise<CertificateProvider> {
  const folder = join(config.stateDir, 'tls');
  const { tls, tlsCertFile: certFile, tlsKeyFile: keyFile } = config;
  const clock = { now: Date.now, random: Math.random };
  const store = (): CertificateStore =>
    createDiskStore({
      folder,
      onDamage: (path, err) =>
        logger.warn(
          { err },
          `${path} is damaged and was put aside as ${path}.damaged; there will be a new one`,
        ),
    });
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
    // A container that is made again has another name, but whoever trusts its certificate does so by the fingerprint.
    const neededNames = selfSignedNames(config, []);
    return createSelfSignedProvider({ ...clock, names, neededNames, store: store(), log });
  }
  if (tls !== 'acme') return createNoCertificate();
  return startAcme(config, await shareStore(config, store(), logger, redis), challenges, logger);
}

/** The stored certificates, and the process that orders the next one. */
interface SharedOrders {
  readonly store: CertificateStore;
  /** Undefined if only this process orders. */
  readonly lock: (() => Promise<Disposable | undefined>) | undefined;
}

async function shareStore(
  config: Config,
  own: CertificateStore,
  logger: Logger,
  redis: Redis | undefined,
): Promise<SharedOrders> {
  const key = redisKeyOf(config);
  if (redis === undefined || key === undefined) return { store: own, lock: undefined };
  const { acmeDirectory: directory } = config;
  const shared = createCertificateStore(createEncryptedRedisStore(redis, key));
  const store = createSharedCertificateStore(shared, own);
  const fill = (): Promise<void> =>
    store.fill(directory).catch((err) => logger.warn({ err }, `${err.message}: it stays with this replica`));
  await fill();
  redis.onReturn(() => void fill());
  const locks = createRedisLocks(redis, () => performance.now());
  return {
    store,
    async lock() {
      // A process that cannot read the certificates of others would only order the same ones again.
      await shared.certificate(directory);
      return locks.take(`certificate ${directory}`).catch((cause: Error) => {
        throw new SharedStoreError(`Redis cannot be asked who orders: ${cause.message}`, { cause });
      });
    },
  };
}

/** Loads the code for ACME only when needed. The threads of the issuers load the clients. */
async function startAcme(
  config: Config,
  { store, lock }: SharedOrders,
  challenges: ChallengeStore,
  logger: Logger,
): Promise<CertificateProvider> {
  const { createAcmeProvider } = await import('../tls/acme/acme-provider.ts');
  const { createRenewalInfoReader } = await import('../tls/acme/renewal-info.ts');
  const order = orderOf(config);
  const { directory, domains } = order;
  return createAcmeProvider({
    order,
    renewalInfo: createRenewalInfoReader(order),
    issuer: await createIssuer(config, { accounts: store, challenges }, logger),
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
    },
  });
}

/**
 * The order that the settings describe.
 *
 * @throws ConfigError if a file that they name can't be used
 */
function orderOf(config: Config): CertificateOrder {
  const { acmeDirectory, acmeEmail = '', domains, acmeEabKid: kid, acmeEabKeyFile, acmeCaFile } = config;
  const hasBinding = kid !== undefined && acmeEabKeyFile !== undefined;
  return {
    directory: acmeDirectory,
    email: acmeEmail,
    domains,
    profile: config.acmeProfile,
    preferredChain: config.acmePreferredChain,
    externalAccount: hasBinding ? { kid, key: readHmacKey(acmeEabKeyFile) } : undefined,
    authorities: acmeCaFile === undefined ? undefined : readPem(acmeCaFile),
  };
}

function readHmacKey(path: string): string {
  const key = readSecret(path);
  // Some authorities show it in base64 instead of base64url.
  if (/^[A-Za-z0-9_+/-]{8,}=*$/.test(key)) return key;
  throw new ConfigError([`${path}: the key of an external account must be in base64url.`]);
}

async function createIssuer(
  { acmeClient, stateDir }: Config,
  stores: OrderStores,
  logger: Logger,
): Promise<CertificateIssuer> {
  const { createThreadIssuer } = await import('../tls/acme/thread-issuer.ts');
  const { selectIssuer } = await import('../tls/acme/select-issuer.ts');
  const issuer = (client: AcmeClient): CertificateIssuer =>
    createThreadIssuer({
      client,
      folder: join(stateDir, 'tls'),
      stores,
      onOutput: (line) => logger.debug(`${client}: ${line}`),
    });
  if (acmeClient !== 'auto') return issuer(acmeClient);
  return selectIssuer({
    greenlock: issuer('greenlock'),
    builtin: issuer('builtin'),
    onSwitch: ({ code, message }) =>
      logger.warn({ code }, `${message} [${code}] The built-in ACME client orders the certificate instead`),
  });
}

function filesLog(logger: Logger) {
  return {
    reloaded: (certificate: Certificate) => logger.info(`New certificate: ${describe(certificate)}`),
    kept: ({ code, message }: CertificateFailure) =>
      logger.error({ code }, `${message} [${code}] The certificate in use stays`),
  };
}

/** By which a server may be called that has no name of its own in DNS. */
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
      // The sentence is for the log: it may tell of folders.
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

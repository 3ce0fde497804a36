import { Resolver } from 'node:dns/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { ConfigError } from '../config/loader.ts';
import { readPem, readSecret, redisKeyOf } from '../config/redis-secrets.ts';
import type { Config } from '../config/schema.ts';
import type { Redis } from '../redis/redis.ts';
import { createRedisLocks } from '../redis/redis-locks.ts';
import {
  type ChallengeResponder,
  type ChallengeType,
  createAlpnResponder,
  createHttpResponder,
  createResponder,
} from '../tls/acme/challenge.ts';
import { createDnsHook } from '../tls/acme/dns-hook.ts';
import { createPropagationCheck } from '../tls/acme/dns-propagation.ts';
import { createDnsResponder } from '../tls/acme/dns-responder.ts';
import type { CertificateIssuer, CertificateOrder, ExternalAccount } from '../tls/acme/issuer.ts';
import { createRenewalInfoReader } from '../tls/acme/renewal-info.ts';
import { createRevocationReader, withRevocation } from '../tls/acme/revocation.ts';
import type { AcmeClient } from '../tls/acme/thread-issuer.ts';
import type { OrderStores } from '../tls/acme/thread-stores.ts';
import {
  type AlpnChallengeStore,
  createDiskAlpnChallenges,
  createSharedAlpnChallenges,
} from '../tls/stores/alpn-challenge-store.ts';
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
import type { FileOwner } from '../util/atomic-file.ts';
import { createNamedDownloads } from './named-downloads.ts';

/** Milliseconds that one DNS server may take. */
const DNS_TIMEOUT_MS = 3000;

/** The answers to challenges, which all processes that answer for a domain share. */
export interface ChallengeAnswers {
  readonly http: ChallengeStore;
  readonly alpn: AlpnChallengeStore;
}

/** Opens the answers in the state folder, and in Redis if replicas share it. */
export function openAnswers(
  { stateDir }: Config,
  redis: Redis | undefined,
  owner?: FileOwner,
): ChallengeAnswers {
  const http = createDiskChallenges(join(stateDir, 'tls', 'challenges'), owner);
  const alpn = createDiskAlpnChallenges(join(stateDir, 'tls', 'alpn-challenges'), owner);
  if (redis === undefined) return { http, alpn };
  return { http: createSharedChallenges(redis, http), alpn: createSharedAlpnChallenges(redis, alpn) };
}

/** The parts of the process that orders need. */
export interface OrderEnvironment {
  readonly logger: Logger;
  /** The environment of the DNS hook. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Kills a DNS hook with the programs that it started. */
  readonly killGroup: (pid: number) => void;
}

/** Answers challenges by these stores, and by the DNS hook. */
export function responderOf(
  { acmeDnsHook: program, acmeDnsResolvers: servers }: Config,
  { http, alpn }: ChallengeAnswers,
  { logger, variables, killGroup }: OrderEnvironment,
): ChallengeResponder {
  return createResponder({
    'http-01': createHttpResponder(http),
    'tls-alpn-01': createAlpnResponder(alpn),
    ...(program !== undefined && {
      'dns-01': createDnsResponder({
        hook: createDnsHook({
          ...{ program, variables, killGroup },
          onOutput: (line) => logger.debug(`${program}: ${line}`),
        }),
        find: createPropagationCheck({ openResolver, servers }),
        uptime: () => performance.now(),
      }),
    }),
  });
}

function openResolver(servers?: readonly string[]): Resolver {
  const resolver = new Resolver({ timeout: DNS_TIMEOUT_MS, tries: 2 });
  if (servers !== undefined) resolver.setServers(servers);
  return resolver;
}

/** Opens the store of this machine. */
export function openDiskStore({ stateDir }: Config, logger: Logger, owner?: FileOwner): CertificateStore {
  return createDiskStore({
    owner,
    folder: join(stateDir, 'tls'),
    onDamage: (path, err) =>
      logger.warn(
        { err },
        `${path} is damaged. It was renamed to ${path}.damaged, and a new one will be created`,
      ),
  });
}

/** The stored certificates, and the process that orders the next one. */
export interface SharedOrders {
  readonly store: CertificateStore;
  /** Undefined if only this process orders. */
  readonly lock: (() => Promise<Disposable | undefined>) | undefined;
}

/** Opens the stores of certificates, which replicas share through Redis. */
export async function openOrders(
  config: Config,
  logger: Logger,
  redis: Redis | undefined,
  owner?: FileOwner,
): Promise<SharedOrders> {
  const own = openDiskStore(config, logger, owner);
  const key = redisKeyOf(config);
  if (redis === undefined || key === undefined) return { store: own, lock: undefined };
  const { acmeDirectory: directory, acmeFallbackDirectory } = config;
  const shared = createCertificateStore(createEncryptedRedisStore(redis, key));
  const store = createSharedCertificateStore(shared, own);
  const fill = async (): Promise<void> => {
    for (const authority of [directory, acmeFallbackDirectory ?? directory]) {
      await store
        .fill(authority)
        .catch((err) => logger.warn({ err }, `${err.message}. Only this replica has it`));
    }
  };
  await fill();
  redis.onReturn(() => void fill());
  const locks = createRedisLocks(redis, () => performance.now());
  return {
    store,
    async lock() {
      // A process that cannot read the certificates of others would only order the same ones again.
      await shared.certificate(directory);
      return locks.take(`certificate ${directory}`).catch((cause: Error) => {
        throw new SharedStoreError(`Redis cannot grant the lock for the order: ${cause.message}`, { cause });
      });
    },
  };
}

/**
 * The authority that the settings name.
 *
 * @throws ConfigError if the file with its root can't be used
 */
export function authorityOf({
  acmeDirectory,
  acmeCaFile,
}: Config): Pick<CertificateOrder, 'directory' | 'authorities'> {
  return {
    directory: acmeDirectory,
    authorities: acmeCaFile === undefined ? undefined : readPem(acmeCaFile),
  };
}

/**
 * The order that the settings describe.
 *
 * @throws ConfigError if a file that they name can't be used
 */
export function orderOf(config: Config): CertificateOrder {
  const { acmeEmail = '', domains, acmeEabKid, acmeEabKeyFile } = config;
  return {
    ...authorityOf(config),
    email: acmeEmail,
    domains,
    challenge: challengeOf(config),
    profile: config.acmeProfile,
    preferredChain: config.acmePreferredChain,
    externalAccount: readAccount(acmeEabKid, acmeEabKeyFile),
  };
}

/**
 * The order at the second authority, which has neither the profiles nor the chains of the first.
 *
 * @throws ConfigError if a file that the settings name can't be used
 */
export function fallbackOf(config: Config): CertificateOrder | undefined {
  const { acmeFallbackDirectory: directory, acmeFallbackEabKid, acmeFallbackEabKeyFile } = config;
  if (directory === undefined) return undefined;
  const externalAccount = readAccount(acmeFallbackEabKid, acmeFallbackEabKeyFile);
  return { ...orderOf(config), directory, externalAccount, profile: undefined, preferredChain: undefined };
}

/**
 * Reads renewal information from the authority that issued the certificate: the first one, or its fallback. A revoked
 * certificate has a window in the past.
 */
export function renewalInfoReaderOf(config: Config): ReturnType<typeof createRenewalInfoReader> {
  const { acmeFallbackDirectory: directory } = config;
  const isRevoked = createRevocationReader({ download: createNamedDownloads(config), now: Date.now });
  const read = createRenewalInfoReader(authorityOf(config));
  if (directory === undefined) return withRevocation(read, isRevoked);
  const readFallback = createRenewalInfoReader({ ...authorityOf(config), directory });
  return withRevocation(
    async (certificate, signal) =>
      (await read(certificate, signal).catch(() => undefined)) ?? readFallback(certificate, signal),
    isRevoked,
  );
}

function readAccount(kid: string | undefined, keyFile: string | undefined): ExternalAccount | undefined {
  return kid === undefined || keyFile === undefined ? undefined : { kid, key: readHmacKey(keyFile) };
}

/** Returns undefined if HTTP-01 and TLS-ALPN-01 alternate. */
function challengeOf({ acmeChallenge, acmeDnsHook }: Config): ChallengeType | undefined {
  if (acmeChallenge !== 'auto') return acmeChallenge;
  return acmeDnsHook === undefined ? undefined : 'dns-01';
}

function readHmacKey(path: string): string {
  const key = readSecret(path);
  // Some authorities show it in base64 instead of base64url.
  if (/^[A-Za-z0-9_+/-]{8,}=*$/.test(key)) return key;
  throw new ConfigError([`${path}: the key of an external account must be in base64url.`]);
}

export async function createIssuer(
  { acmeClient, stateDir }: Config,
  stores: OrderStores,
  logger: Logger,
): Promise<CertificateIssuer> {
  const { alternateChallenges } = await import('../tls/acme/alternate-challenge.ts');
  const { createThreadIssuer } = await import('../tls/acme/thread-issuer.ts');
  const { selectIssuer } = await import('../tls/acme/select-issuer.ts');
  const issuer = (client: AcmeClient): CertificateIssuer =>
    createThreadIssuer({
      client,
      folder: join(stateDir, 'tls'),
      stores,
      onOutput: (line) => logger.debug(`${client}: ${line}`),
    });
  if (acmeClient === 'greenlock') return issuer(acmeClient);
  if (acmeClient === 'builtin') return alternateChallenges(issuer(acmeClient));
  const selected = selectIssuer({
    greenlock: issuer('greenlock'),
    builtin: issuer('builtin'),
    onSwitch: ({ code, message }) =>
      logger.warn({ code }, `${message} [${code}] The built-in ACME client orders the certificate instead`),
  });
  return alternateChallenges(selected);
}

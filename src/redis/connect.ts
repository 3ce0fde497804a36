import { createSecureContext, getCACertificates } from 'node:tls';
import { Redis as Client, Cluster, type RedisOptions } from 'ioredis';
import { backoff } from '../util/backoff.ts';
import { trustSystemAuthorities } from '../util/system-authorities.ts';
import { LIMITS_PREFIX, type Redis, type RedisAddress } from './redis.ts';

export interface RedisLog {
  /** Called when Redis stops answering, once for each outage. */
  lost(error: Error): void;
  returned(): void;
}

/** Milliseconds that a command, and the first connection, may take. */
const COMMAND_MS = 1000;
const CONNECT_MS = 2000;
/** Milliseconds between attempts to connect. */
const PAUSES = { first: 100, longest: 2000 };

/** Milliseconds between probes. */
const PROBE_MS = 2000;
const PROBE_KEY = `${LIMITS_PREFIX}probe`;

const pauseAfter = (attempts: number): number => backoff(PAUSES, attempts, Math.random());

/**
 * Connects to a Redis. If it is unavailable, the process continues without it, and tries again for its whole life.
 *
 * @returns once it answers, or after a timeout
 */
export async function connectRedis(address: RedisAddress, log: RedisLog): Promise<Redis> {
  const client = clientFor(address);
  const listeners: (() => void)[] = [];
  let isConnected = false;
  let isLostTold = false;
  let lastError = new Error('it does not answer');

  const lose = (): void => {
    isConnected = false;
    if (isLostTold) return;
    isLostTold = true;
    log.lost(lastError);
  };
  const first = Promise.withResolvers<void>();
  const find = (): void => {
    if (isConnected) return;
    isConnected = true;
    if (isLostTold) log.returned();
    isLostTold = false;
    first.resolve();
    for (const returned of listeners) returned();
  };
  // An open connection is not enough. An unresponsive Redis keeps it open, and a replica refuses writes. A Cluster
  // stays connected while any node is up, even if the node with the limits is down.
  const probe = async (): Promise<void> => {
    try {
      // This write changes nothing: with XX, SET ignores a missing key. It is refused if writes are refused.
      await client.set(PROBE_KEY, '', 'XX');
      find();
    } catch (error) {
      lastError = error as Error;
      lose();
    }
  };
  client.on('error', (error: Error) => {
    lastError = error;
  });
  client.on('close', lose);
  client.on('ready', () => void probe());
  const probes = setInterval(() => client.status === 'ready' && probe(), PROBE_MS);
  probes.unref();
  const patience = setTimeout(() => {
    if (!isConnected) lose();
    first.resolve();
  }, CONNECT_MS);
  await first.promise;
  clearTimeout(patience);

  return {
    get isConnected() {
      return isConnected;
    },
    get: async (key) => (await client.getBuffer(key)) ?? undefined,
    async set(key, value, ttl) {
      await (ttl === undefined ? client.set(key, value) : client.set(key, value, 'PX', Math.ceil(ttl)));
    },
    async remove(key) {
      await client.del(key);
    },
    async run({ lua, hash }, keys, args) {
      try {
        return await client.evalsha(hash, keys.length, ...keys, ...args);
      } catch (error) {
        // Redis forgets scripts when it starts; Cluster nodes know them one by one.
        if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
        return client.eval(lua, keys.length, ...keys, ...args);
      }
    },
    onReturn(returned) {
      listeners.push(returned);
    },
    async close() {
      clearInterval(probes);
      client.off('close', lose);
      client.disconnect();
    },
  };
}

function clientFor(address: RedisAddress) {
  const { kind, nodes, master: name, database: db, username, password, sentinelLogin } = address;
  const tls = address.isTls ? tlsOptions(address.tls) : undefined;
  const common = {
    ...{ username, password, tls },
    connectionName: 'dockerproxy',
    commandTimeout: COMMAND_MS,
    connectTimeout: CONNECT_MS,
    // A command without a response is not sent again: Redis may have executed it, and the caller has continued.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
  } satisfies RedisOptions;
  const alone = { enableOfflineQueue: false, retryStrategy: pauseAfter };
  if (kind === 'cluster') {
    return new Cluster([...nodes], {
      enableOfflineQueue: false,
      clusterRetryStrategy: pauseAfter,
      redisOptions: common,
      // By default, ioredis resolves names itself and connects to the address, which the certificate seldom names.
      ...(tls && {
        dnsLookup: (host: string, done: (error: null, address: string) => void) => done(null, host),
      }),
    });
  }
  if (kind === 'sentinel') {
    const login = sentinelLogin ?? { username, password };
    const sentinels = {
      ...{ name, sentinels: [...nodes], sentinelPassword: login.password, sentinelUsername: login.username },
      ...{ sentinelTLS: tls, enableTLSForSentinelMode: tls !== undefined, sentinelRetryStrategy: pauseAfter },
    };
    return new Client({ ...common, ...alone, ...sentinels, db });
  }
  return new Client({ ...common, ...alone, ...nodes[0], db });
}

/** Creates the TLS options. Authorities are parsed here once, not for each connection. */
function tlsOptions({
  authorities,
  certificate: cert,
  key,
}: NonNullable<RedisAddress['tls']> = NO_TLS_FILES) {
  trustSystemAuthorities();
  const ca = authorities && { ca: [...getCACertificates('default'), authorities] };
  return { secureContext: createSecureContext({ ...ca, ...(cert && { cert }), ...(key && { key }) }) };
}

const NO_TLS_FILES = { authorities: undefined, certificate: undefined, key: undefined };

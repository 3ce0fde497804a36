import { Redis as Client, Cluster, type RedisOptions } from 'ioredis';
import type { Redis, RedisAddress } from './redis.ts';

export interface RedisLog {
  /** Redis does not answer; told once until it does. */
  lost(error: Error): void;
  returned(): void;
}

/** Milliseconds that a command may take, and that the first connection is waited for. */
const COMMAND_MS = 1000;
const CONNECT_MS = 2000;
/** Milliseconds between attempts to connect. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2000;

const pauseAfter = (attempts: number): number => Math.min(FIRST_PAUSE_MS * attempts, LONGEST_PAUSE_MS);

/**
 * Connects to a Redis, and goes on without it where it is away: it is tried again for as long as the process runs.
 *
 * @returns once it answers, or has had the time to
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
  client.on('error', (error: Error) => {
    lastError = error;
  });
  client.on('close', lose);
  const first = Promise.withResolvers<void>();
  client.on('ready', () => {
    isConnected = true;
    if (isLostTold) log.returned();
    isLostTold = false;
    first.resolve();
    for (const returned of listeners) returned();
  });
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
      client.off('close', lose);
      client.disconnect();
    },
  };
}

function clientFor({ kind, nodes, master: name, database: db, username, password, isTls }: RedisAddress) {
  const tls = isTls ? {} : undefined;
  const common = {
    ...{ username, password, tls },
    connectionName: 'dockerproxy',
    commandTimeout: COMMAND_MS,
    connectTimeout: CONNECT_MS,
    // What is not answered is not sent again: it may have been done, and whoever asked has gone on.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
  } satisfies RedisOptions;
  const alone = { enableOfflineQueue: false, retryStrategy: pauseAfter };
  if (kind === 'cluster') {
    return new Cluster([...nodes], {
      enableOfflineQueue: false,
      clusterRetryStrategy: pauseAfter,
      redisOptions: common,
    });
  }
  if (kind === 'sentinel') {
    const sentinels = {
      ...{ name, sentinels: [...nodes], sentinelPassword: password, sentinelUsername: username },
      ...{ sentinelTLS: tls, enableTLSForSentinelMode: isTls, sentinelRetryStrategy: pauseAfter },
    };
    return new Client({ ...common, ...alone, ...sentinels, db });
  }
  return new Client({ ...common, ...alone, ...nodes[0], db });
}

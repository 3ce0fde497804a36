import type { Logger } from 'pino';
import { redisAddressOf } from '../config/redis-secrets.ts';
import type { Config } from '../config/schema.ts';
import type { Redis } from '../redis/redis.ts';

/**
 * Connects to the Redis that replicas share; undefined if the settings name no Redis. Only then is its client loaded.
 *
 * @throws ConfigError if the file of its password cannot be read
 */
export async function openSharedRedis(config: Config, logger: Logger): Promise<Redis | undefined> {
  const address = redisAddressOf(config);
  if (address === undefined) return undefined;
  const { connectRedis } = await import('../redis/connect.ts');
  const where = address.nodes.map(({ host, port }) => `${host}:${port}`).join(', ');
  return connectRedis(address, {
    lost: (err) =>
      logger.error(
        { err },
        `Redis at ${where} does not answer: ${err.message}. Until it does, this machine counts limits by itself, asks what tags mean, and orders no certificate`,
      ),
    returned: () => logger.warn(`Redis at ${where} answers again`),
  });
}

/** Starts a part that uses Redis. If that fails, closes the connection, so that the process can exit. */
export async function startWith<T>(redis: Redis | undefined, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    await redis?.close();
    throw error;
  }
}

import type { Logger } from 'pino';
import { redisAddressOf } from '../config/redis-secrets.ts';
import type { Config } from '../config/schema.ts';
import type { Redis } from '../redis/redis.ts';

/**
 * Connects to the Redis that replicas share; undefined where the settings name none. Its client is loaded only where it
 * is wanted.
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

/** Starts what uses it; where that cannot start, no connection keeps the process from ending. */
export async function startWith<T>(redis: Redis | undefined, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    await redis?.close();
    throw error;
  }
}

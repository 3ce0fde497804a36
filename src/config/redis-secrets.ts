import { hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { RedisAddress } from '../redis/redis.ts';
import { ConfigError } from './loader.ts';
import type { Config } from './schema.ts';

/** Bytes of a secret that nobody guesses. */
const LEAST_SECRET = 32;

/**
 * Tells where the Redis of the settings is, with its password; undefined where there is none.
 *
 * @throws ConfigError where the file of the password cannot be read
 */
export function redisAddressOf({
  redisUrl,
  redisPasswordFile: path,
}: Pick<Config, 'redisUrl' | 'redisPasswordFile'>): RedisAddress | undefined {
  if (redisUrl === undefined || path === undefined) return redisUrl;
  return { ...redisUrl, password: readSecret(path) };
}

/**
 * Makes the key, of 32 bytes, by which replicas encrypt what they share; undefined where there is no file for it.
 *
 * @throws ConfigError where that cannot be read, or is too short
 */
export function redisKeyOf({ redisKeyFile: path }: Pick<Config, 'redisKeyFile'>): Buffer | undefined {
  if (path === undefined) return undefined;
  const secret = readSecret(path);
  if (Buffer.byteLength(secret) < LEAST_SECRET) {
    throw new ConfigError([
      `${path}: a key has at least ${LEAST_SECRET} characters; \`openssl rand -base64 48\` makes one.`,
    ]);
  }
  return Buffer.from(hkdfSync('sha256', secret, '', 'dockerproxy redis', 32));
}

function readSecret(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new ConfigError([`${path}: ${(error as Error).message}.`]);
  }
}

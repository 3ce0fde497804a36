import type { Config, GivenSettings } from './schema.ts';

/** Milliseconds for which replicas take a tag's answer from each other. */
const SHARED_TAG_TTL_MS = 10_000;

type RedisSettings = Pick<Config, 'tagTtl'>;

/**
 * Settles what depends on whether replicas share a Redis.
 *
 * @param mistakes takes a sentence for each setting that is missing or contradicts another
 */
export function settleRedis(
  given: GivenSettings,
  { tls }: Pick<Config, 'tls'>,
  mistakes: string[],
): RedisSettings {
  const { redisUrl, redisPasswordFile, redisKeyFile, tagTtl } = given;
  if (redisUrl === undefined) {
    for (const [flag, value] of [
      ['--redis-password-file', redisPasswordFile],
      ['--redis-key-file', redisKeyFile],
    ]) {
      if (value !== undefined) mistakes.push(`${flag} is for --redis-url: set both, or none.`);
    }
  } else if (tls === 'acme' && redisKeyFile === undefined) {
    mistakes.push(
      '--redis-url and --tls acme need --redis-key-file: a file by which all replicas encrypt the certificate’s key. `openssl rand -base64 48` makes one.',
    );
  }
  if (redisPasswordFile !== undefined && redisUrl?.password !== undefined) {
    mistakes.push('--redis-url has a password, and --redis-password-file, too: set one of them.');
  }
  return { tagTtl: tagTtl ?? (redisUrl === undefined ? 0 : SHARED_TAG_TTL_MS) };
}

import type { Config, GivenSettings } from './schema.ts';

/** Milliseconds for which replicas share the digest of a resolved tag. */
const SHARED_TAG_TTL_MS = 10_000;

type RedisSettings = Pick<Config, 'tagTtl'>;

/**
 * Resolves the settings that depend on a shared Redis.
 *
 * @param mistakes takes a sentence for each setting that is missing or contradicts another
 */
export function settleRedis(
  given: GivenSettings,
  { tls }: Pick<Config, 'tls'>,
  mistakes: string[],
): RedisSettings {
  const { redisUrl, redisPasswordFile, redisKeyFile, redisTlsCertFile, redisTlsKeyFile, tagTtl } = given;
  const { redisSentinelUser, redisSentinelPasswordFile } = given;
  const forSentinels = {
    '--redis-sentinel-password-file': redisSentinelPasswordFile,
    '--redis-sentinel-user': redisSentinelUser,
  };
  const forTls = {
    '--redis-tls-ca-file': given.redisTlsCaFile,
    '--redis-tls-cert-file': redisTlsCertFile,
    '--redis-tls-key-file': redisTlsKeyFile,
  };
  if (redisUrl === undefined) {
    const all = {
      ...{ '--redis-password-file': redisPasswordFile, '--redis-key-file': redisKeyFile },
      ...{ ...forSentinels, ...forTls },
    };
    for (const flag of givenOf(all)) mistakes.push(`${flag} requires --redis-url. Set both or neither.`);
  } else if (tls === 'acme' && redisKeyFile === undefined) {
    mistakes.push(
      '--redis-url with --tls acme requires --redis-key-file, with which all replicas encrypt the certificate’s key. Create the file with `openssl rand -base64 48`.',
    );
  }
  if (redisUrl !== undefined && redisUrl.kind !== 'sentinel') {
    for (const flag of givenOf(forSentinels)) {
      mistakes.push(
        `${flag} requires Sentinels. Start --redis-url with redis-sentinel:// or rediss-sentinel://.`,
      );
    }
  }
  if (redisUrl !== undefined && !redisUrl.isTls) {
    for (const flag of givenOf(forTls)) {
      mistakes.push(`${flag} requires TLS. Start --redis-url with rediss instead of redis.`);
    }
  }
  if (redisSentinelUser !== undefined && redisSentinelPasswordFile === undefined) {
    mistakes.push('--redis-sentinel-user requires --redis-sentinel-password-file.');
  }
  if (redisTlsKeyFile !== undefined && redisTlsCertFile === undefined) {
    mistakes.push('--redis-tls-key-file requires --redis-tls-cert-file.');
  }
  if (redisPasswordFile !== undefined && redisUrl?.password !== undefined) {
    mistakes.push(
      '--redis-url contains a password, and --redis-password-file is also set. Set only one of them.',
    );
  }
  return { tagTtl: tagTtl ?? (redisUrl === undefined ? 0 : SHARED_TAG_TTL_MS) };
}

/** Lists the flags that have a value. */
function givenOf(flags: Readonly<Record<string, string | undefined>>): string[] {
  return Object.keys(flags).filter((flag) => flags[flag] !== undefined);
}

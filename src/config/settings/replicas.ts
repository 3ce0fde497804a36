import { redisUrl } from '../redis-url.ts';
import type { Setting } from '../setting.ts';
import { duration, text } from '../types.ts';

/** Redis, which several services share. */
export const REPLICAS = {
  redisUrl: {
    type: redisUrl,
    doc: 'URL of the Redis or Valkey that all replicas share for limits, certificates, and resolved tags: redis://HOST, rediss://USER:PASSWORD@HOST (TLS), redis-sentinel://HOST,HOST/0#MASTER, or redis-cluster://HOST,HOST.',
    example: 'rediss-sentinel://redis1.lan,redis2.lan,redis3.lan/0#mymaster',
  },
  redisPasswordFile: {
    type: text,
    doc: 'File with the password for REDIS_URL, as an alternative to a password in the URL.',
    example: '/run/credentials/dockerproxy.service/redis-password',
  },
  redisSentinelUser: {
    type: text,
    doc: 'User name for the Sentinels. Requires REDIS_SENTINEL_PASSWORD_FILE. Default: the user `default`.',
    example: 'dockerproxy',
  },
  redisSentinelPasswordFile: {
    type: text,
    doc: 'File with the password of the Sentinels. For Sentinels without a password, use an empty file, such as /dev/null. Default: the user and password of Redis.',
    example: '/run/credentials/dockerproxy.service/redis-sentinel-password',
  },
  redisTlsCaFile: {
    type: text,
    doc: 'PEM file with the private certificate authority of Redis and its Sentinels, trusted in addition to those of the system. Requires rediss://.',
    example: '/etc/dockerproxy/redis-ca.pem',
  },
  redisTlsCertFile: {
    type: text,
    doc: 'PEM file with the client certificate that Redis requires. Requires rediss://.',
    example: '/run/credentials/dockerproxy.service/redis-client.crt',
  },
  redisTlsKeyFile: {
    type: text,
    doc: 'PEM file with the private key of the client certificate for Redis. Default: REDIS_TLS_CERT_FILE, which then contains both.',
    example: '/run/credentials/dockerproxy.service/redis-client.key',
  },
  redisKeyFile: {
    type: text,
    doc: 'File with at least 32 random characters, the same for all replicas. It encrypts the private key of the certificate in Redis. Required with --redis-url and --tls acme.',
    example: '/run/credentials/dockerproxy.service/redis-key',
  },
  tagTtl: {
    type: duration,
    doc: 'How long a resolved tag is cached before the registry is asked again. Default: 10s with --redis-url; otherwise 0s, which asks for each download.',
    example: '30s',
  },
} as const satisfies Record<string, Setting<unknown>>;

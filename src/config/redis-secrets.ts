import { hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { SecureContextOptions } from 'node:tls';
import type { RedisAddress, RedisTls } from '../redis/redis.ts';
import { nodeTls } from '../util/builtins.ts';
import { unreadableFile } from '../util/unreadable-file.ts';
import { ConfigError } from './loader.ts';
import type { Config } from './schema.ts';

/** Bytes of a secret that cannot be guessed. */
const LEAST_SECRET = 32;

type RedisFiles = Pick<
  Config,
  | 'redisUrl'
  | 'redisPasswordFile'
  | 'redisSentinelUser'
  | 'redisSentinelPasswordFile'
  | 'redisTlsCaFile'
  | 'redisTlsCertFile'
  | 'redisTlsKeyFile'
>;

/**
 * Reads the address of Redis from the settings, with passwords and certificates from the files that they name;
 * undefined without `redis_url`.
 *
 * @throws ConfigError if a file can't be read or used
 */
export function redisAddressOf(files: RedisFiles): RedisAddress | undefined {
  const { redisUrl, redisPasswordFile, redisSentinelUser: username, redisSentinelPasswordFile } = files;
  if (redisUrl === undefined) return undefined;
  const tls = redisTlsOf(files);
  return {
    ...redisUrl,
    ...(redisPasswordFile !== undefined && { password: readSecret(redisPasswordFile) }),
    ...(redisSentinelPasswordFile !== undefined && {
      sentinelLogin: { username, password: readSecret(redisSentinelPasswordFile) || undefined },
    }),
    ...(tls && { tls }),
  };
}

function redisTlsOf({
  redisTlsCaFile: caFile,
  redisTlsCertFile: certFile,
  redisTlsKeyFile: keyFile,
}: RedisFiles): RedisTls | undefined {
  if (caFile === undefined && certFile === undefined) return undefined;
  const [authorities, cert] = [caFile && readPem(caFile), certFile && readPem(certFile)];
  const key = keyFile === undefined ? cert : readSecret(keyFile);
  if (caFile !== undefined) checkTls(caFile, { ca: authorities });
  if (certFile !== undefined)
    checkTls(keyFile === undefined ? certFile : `${certFile}, ${keyFile}`, { cert, key });
  return { authorities, certificate: cert, key };
}

/**
 * Reads a PEM file, which must contain a certificate.
 *
 * @throws ConfigError if it contains none or can't be read
 */
export function readPem(path: string): string {
  const pem = readSecret(path);
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    throw new ConfigError([`${path} contains no PEM certificate. Name a file that contains one.`]);
  }
  return pem;
}

function checkTls(where: string, options: SecureContextOptions): void {
  try {
    nodeTls().createSecureContext(options);
  } catch (error) {
    const { reason, message } = error as Error & { reason?: string };
    throw new ConfigError([`${where} cannot be used for TLS: ${reason ?? message}.`]);
  }
}

/**
 * Derives the key, of 32 bytes, that encrypts the data that replicas share; undefined without a file for it.
 *
 * @throws ConfigError if that cannot be read, or is too short
 */
export function redisKeyOf({ redisKeyFile: path }: Pick<Config, 'redisKeyFile'>): Buffer | undefined {
  if (path === undefined) return undefined;
  const secret = readSecret(path);
  if (Buffer.byteLength(secret) < LEAST_SECRET) {
    throw new ConfigError([
      `${path}: the key must have at least ${LEAST_SECRET} characters. Create one with \`openssl rand -base64 48\`.`,
    ]);
  }
  return Buffer.from(hkdfSync('sha256', secret, '', 'dockerproxy redis', 32));
}

/**
 * Reads a secret without surrounding white space.
 *
 * @throws ConfigError if the file can't be read
 */
export function readSecret(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new ConfigError([unreadableFile(path, error)]);
  }
}

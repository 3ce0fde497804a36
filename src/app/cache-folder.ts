import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import type { Logger } from 'pino';
import { type BlobCache, type CacheLog, openBlobCache } from '../blobs/blob-cache.ts';
import { ConfigError } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import type { ReadinessCheck } from '../telemetry/readiness.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';

/**
 * Opens the cache of blobs in the folder that the settings name; undefined if they turn it off.
 *
 * @throws ConfigError if the folder cannot be used
 */
export async function openCache(
  config: Config,
  logger: Logger,
  caches: MemoryCaches,
  read?: CacheLog['read'],
): Promise<BlobCache | undefined> {
  const { cacheDir: folder, cacheSize: limit } = config;
  if (limit === 0) return undefined;
  const readAhead = config.readAhead === 0 ? Number.MAX_SAFE_INTEGER : config.readAhead;
  const log: CacheLog = {
    ...(read && { read }),
    damaged: (digest) => logger.warn({ digest }, `The cached blob ${digest} was changed; fetching it again`),
    uncached: (digest, err) =>
      logger.warn({ digest, err }, `${err.message}: ${digest} passes through uncached`),
  };
  try {
    return await openBlobCache({ folder, limit, readAhead, log, caches });
  } catch (error) {
    throw new ConfigError([
      `The cache folder ${folder} cannot be used: ${(error as Error).message}. Set another one with --cache-dir, or none with --cache-size 0.`,
    ]);
  }
}

/** Checks that the folder can be used. A full disk must not refuse clients: blobs that cannot be stored pass through. */
export async function checkFolder(folder: string): Promise<ReadinessCheck> {
  await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  return { isReady: true, details: { folder, freeBytes: await freeBytesOf(folder) } };
}

/** Returns the free bytes on the disk of a folder for this user. */
export async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

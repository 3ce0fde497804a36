import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KEY_PREFIX, type Redis } from '../../redis/redis.ts';
import { type FileOwner, replaceFile } from '../../util/atomic-file.ts';
import { SharedStoreError } from './encrypted-redis-store.ts';

/**
 * The responses that an ACME authority reads at `/.well-known/acme-challenge/TOKEN`.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-8.3
 */
export interface ChallengeStore {
  /** The key authorization; undefined for an unknown challenge. */
  get(token: string): Promise<string | undefined>;
  set(token: string, keyAuthorization: string): Promise<void>;
  remove(token: string): Promise<void>;
  /** Removes the challenges of interrupted attempts. */
  removeAbandoned(now: number): Promise<void>;
}

/** base64url, by RFC 8555; so it is a safe file name, too. */
const TOKEN = /^[A-Za-z0-9_-]{1,256}$/;
/** Milliseconds until a challenge expires. Every order is faster. */
export const ABANDONED_MS = 3_600_000;

/** Stores challenges also in a Redis, so that each replica can answer for the one that orders. */
export function createSharedChallenges(redis: Redis, own: ChallengeStore): ChallengeStore {
  const keyOf = (token: string): string => `${KEY_PREFIX}tls:challenge:${token}`;
  return {
    async get(token) {
      if (!TOKEN.test(token)) return undefined;
      const here = await own.get(token);
      return here ?? (await redis.get(keyOf(token)).catch(() => undefined))?.toString();
    },
    async set(token, keyAuthorization) {
      await own.set(token, keyAuthorization);
      await redis.set(keyOf(token), keyAuthorization, ABANDONED_MS).catch((cause: Error) => {
        throw new SharedStoreError(`Redis cannot be written: ${cause.message}`, { cause });
      });
    },
    async remove(token) {
      await own.remove(token);
      // The key expires by itself.
      await redis.remove(keyOf(token)).catch(() => {});
    },
    removeAbandoned: (now) => own.removeAbandoned(now),
  };
}

/** Stores challenges in files, so that each process with the folder can answer: `TOKEN` → the key authorization. */
export function createDiskChallenges(folder: string, owner?: FileOwner): ChallengeStore {
  const pathOf = (token: string): string => {
    if (!TOKEN.test(token)) throw new Error('The token of a challenge is not one of RFC 8555');
    return join(folder, token);
  };
  return {
    async get(token) {
      if (!TOKEN.test(token)) return undefined;
      return readFile(pathOf(token), 'utf8').catch(() => undefined);
    },
    set: (token, keyAuthorization) => replaceFile(pathOf(token), keyAuthorization, { owner }),
    remove: (token) => rm(pathOf(token), { force: true }),
    removeAbandoned: (now) => removeAbandonedFiles(folder, now),
  };
}

/** Removes files of a folder that are older than any order. */
export async function removeAbandonedFiles(folder: string, now: number): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: now }));
    if (mtimeMs < now - ABANDONED_MS) await rm(path, { force: true });
  }
}

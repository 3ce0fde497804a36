import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { KEY_PREFIX, type Redis } from '../../redis/redis.ts';
import { type FileOwner, replaceFile } from '../../util/atomic-file.ts';
import { ipv6Bytes } from '../subject-alt-names.ts';
import { ABANDONED_MS, removeAbandonedFiles } from './challenge-store.ts';
import { SharedStoreError } from './encrypted-redis-store.ts';

/** The answer to a TLS-ALPN-01 challenge. */
export interface AlpnChallenge {
  /** The DNS name or IP address to validate. */
  readonly name: string;
  readonly keyAuthorization: string;
}

/** The TLS-ALPN-01 challenges that are open. */
export interface AlpnChallengeStore {
  /** Finds a challenge by the server name of a TLS connection. */
  find(servername: string): AlpnChallenge | undefined;
  set(name: string, keyAuthorization: string): Promise<void>;
  /** Waits until all processes that share the store find the challenges. */
  spread(): Promise<void>;
  remove(name: string): Promise<void>;
  /** Removes the challenges of orders that were interrupted. */
  removeAbandoned(now: number): Promise<void>;
}

/** A host name in lower case, which is also a safe file name. */
const SERVER_NAME = /^[a-z0-9][a-z0-9.-]{0,252}$/;
const KEY = `${KEY_PREFIX}tls:alpn-challenges`;
/** Milliseconds between two polls of Redis. */
const POLL_MS = 1000;

/** Keeps challenges in files, so that all processes with the folder can answer: `dl.example.org` → JSON. */
export function createDiskAlpnChallenges(folder: string, owner?: FileOwner): AlpnChallengeStore {
  const pathOf = (name: string): string => {
    const servername = serverNameOf(name);
    if (!SERVER_NAME.test(servername)) throw new Error(`The name ${name} is not a host name`);
    return join(folder, servername);
  };
  return {
    find(servername) {
      const name = servername.toLowerCase();
      if (!SERVER_NAME.test(name)) return undefined;
      try {
        return JSON.parse(readFileSync(join(folder, name), 'utf8')) as AlpnChallenge;
      } catch {
        return undefined;
      }
    },
    set: async (name, keyAuthorization) =>
      replaceFile(pathOf(name), JSON.stringify({ name, keyAuthorization }), { owner }),
    async spread() {},
    remove: async (name) => rm(pathOf(name), { force: true }),
    removeAbandoned: (now) => removeAbandonedFiles(folder, now),
  };
}

/**
 * Keeps challenges in a Redis, too, so that each replica can answer for the one that orders. Replicas copy them to their
 * own store, because a TLS handshake cannot wait for Redis.
 */
export function createSharedAlpnChallenges(redis: Redis, own: AlpnChallengeStore): AlpnChallengeStore {
  const open = new Map<string, string>();
  const publish = (): Promise<void> => redis.set(KEY, JSON.stringify([...open]), ABANDONED_MS);
  return {
    find: own.find,
    async set(name, keyAuthorization) {
      await own.set(name, keyAuthorization);
      open.set(name, keyAuthorization);
      await publish().catch((cause: Error) => {
        throw new SharedStoreError(`Redis cannot be written: ${cause.message}`, { cause });
      });
    },
    // Each replica has looked at least once by then.
    spread: () => pause(2 * POLL_MS),
    async remove(name) {
      await own.remove(name);
      open.delete(name);
      // The key expires.
      await publish().catch(() => {});
    },
    removeAbandoned: own.removeAbandoned,
  };
}

/** Copies the challenges of other replicas from a Redis to the store of this machine, until it is disposed. */
export function followAlpnChallenges(redis: Redis, own: AlpnChallengeStore): Disposable {
  const copied = new Map<string, string>();
  const copy = async (): Promise<void> => {
    const found = new Map(JSON.parse((await redis.get(KEY))?.toString() ?? '[]') as [string, string][]);
    for (const [name, keyAuthorization] of found) {
      if (copied.get(name) === keyAuthorization) continue;
      await own.set(name, keyAuthorization);
      copied.set(name, keyAuthorization);
    }
    for (const name of copied.keys()) {
      if (found.has(name)) continue;
      await own.remove(name);
      copied.delete(name);
    }
  };
  // While Redis does not respond, no replica orders.
  const timer = setInterval(() => void copy().catch(() => {}), POLL_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/**
 * Returns the server name by which an authority connects: the name itself, or the reverse name of an IP address.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8738#section-6
 */
export function serverNameOf(name: string): string {
  if (isIP(name) === 0) return name;
  if (isIP(name) === 4) return `${name.split('.').reverse().join('.')}.in-addr.arpa`;
  const nibbles = [...ipv6Bytes(name).toString('hex')];
  return `${nibbles.reverse().join('.')}.ip6.arpa`;
}

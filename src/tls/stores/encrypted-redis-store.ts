import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { KEY_PREFIX, type Redis } from '../../redis/redis.ts';
import { authorityName, type EncryptedStore, type VaultKind } from './certificate-store.ts';

/** Thrown if the certificates that replicas share cannot be read or written. */
export class SharedStoreError extends Error {
  override readonly name = 'SharedStoreError';
  /** Keeps the error code when the error is cloned between threads. */
  readonly code = SHARED_STORE_FAILED;
}

export const SHARED_STORE_FAILED = 'ESHAREDSTORE';

const ALGORITHM = 'aes-256-gcm';
const IV_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Keeps texts in a Redis, `dockerproxy:tls:certificates:acme-v02.api.letsencrypt.org-1a2b3c4d`, each encrypted and
 * bound to its name. A reader of the Redis, or of its backup, learns no key, and a writer cannot forge one.
 *
 * @param key 32 bytes
 */
export function createEncryptedRedisStore(redis: Redis, key: Buffer): EncryptedStore {
  const nameOf = (kind: VaultKind, authority: string): string =>
    `${KEY_PREFIX}tls:${kind}:${authorityName(authority)}`;
  return {
    async load(kind, authority, parse) {
      const name = nameOf(kind, authority);
      const sealed = await redis.get(name).catch(fail('read'));
      if (sealed === undefined) return undefined;
      try {
        return parse(unseal(sealed, name, key));
      } catch {
        // Do not order another one, because replicas with two different keys would order endlessly.
        throw new SharedStoreError(
          `${name} in Redis cannot be decrypted: redis_key_file has to be the same for all replicas; where it was changed, remove that key from Redis`,
        );
      }
    },
    async save(kind, authority, content) {
      const name = nameOf(kind, authority);
      await redis.set(name, seal(content, name, key)).catch(fail('written'));
    },
  };
}

function fail(what: string): (error: Error) => never {
  return (cause) => {
    throw new SharedStoreError(`Redis cannot be ${what}: ${cause.message}`, { cause });
  };
}

/** The initialization vector, the authentication tag, the text. */
function seal(content: string, name: string, key: Buffer): Buffer {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, iv).setAAD(Buffer.from(name));
  const text = Buffer.concat([cipher.update(content, 'utf8'), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), text]);
}

function unseal(sealed: Buffer, name: string, key: Buffer): string {
  const iv = sealed.subarray(0, IV_BYTES);
  const decipher = createDecipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES })
    .setAAD(Buffer.from(name))
    .setAuthTag(sealed.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
  return decipher.update(sealed.subarray(IV_BYTES + TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
}

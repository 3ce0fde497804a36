import { createHash, randomUUID } from 'node:crypto';
import { createLocks, type Locks } from '../util/lock.ts';
import { KEY_PREFIX, type Redis } from './redis.ts';
import { redisScript } from './script.ts';

/** Milliseconds after which a lock expires without a renewal, because its process has died. */
const LIFETIME_MS = 30_000;

const TAKE = redisScript(`return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])`);
// After the lock expires, another process may own it.
const IF_OWN = `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end`;
const RENEW = redisScript(`${IF_OWN} return redis.call('PEXPIRE', KEYS[1], ARGV[2])`);
const RELEASE = redisScript(`${IF_OWN} return redis.call('DEL', KEYS[1])`);

/**
 * Locks of all processes that share a Redis.
 *
 * @param now a monotonic clock, in milliseconds
 */
export function createRedisLocks(redis: Redis, now: () => number): Locks {
  return createLocks(async (name) => {
    const keys = [`${KEY_PREFIX}turn:${createHash('sha256').update(name).digest('hex')}`];
    const holder = randomUUID();
    if ((await redis.run(TAKE, keys, [holder, LIFETIME_MS])) === null) return undefined;
    const renew = (): Promise<unknown> => redis.run(RENEW, keys, [holder, LIFETIME_MS]);
    // While Redis is unreachable, the lock may expire. Its owner continues, because the work is safe to run twice.
    const renewal = setInterval(() => renew().catch(() => {}), LIFETIME_MS / 3);
    renewal.unref();
    return {
      [Symbol.dispose]() {
        clearInterval(renewal);
        redis.run(RELEASE, keys, [holder]).catch(() => {});
      },
    };
  }, now);
}

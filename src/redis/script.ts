import { createHash } from 'node:crypto';
import type { RedisScript } from './redis.ts';

/** Prepares a script of Lua. @see https://redis.io/docs/latest/develop/programmability/eval-intro/ */
export function redisScript(lua: string): RedisScript {
  return { lua, hash: createHash('sha1').update(lua).digest('hex') };
}

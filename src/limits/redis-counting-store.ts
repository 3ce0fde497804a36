import { LIMITS_PREFIX, type Redis } from '../redis/redis.ts';
import { redisScript } from '../redis/script.ts';
import {
  type Acquisition,
  type Count,
  type CountingStore,
  LEASE_MS,
  type Lease,
  type LeaseLimits,
} from './counting-store.ts';

/** The keys: leases by expiry; the downloads of each client, with their number of holders; the downloads per client. */
const LEASE_KEYS = ['leases', 'downloads', 'clients'].map((name) => LIMITS_PREFIX + name);
/** Leases that one script renews. It blocks Redis for less than a millisecond. */
const RENEWED_AT_ONCE = 200;

/** Uses the clock of Redis, because the clocks of replicas differ. Tests pass their own. */
const CLOCK = `
local function clock(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`;

/** Counters are hashes of a value and its end, which Redis itself forgets some time after that end. */
const ADD = redisScript(`${CLOCK}
local now = clock(ARGV[1])
local counts = {}
for i, key in ipairs(KEYS) do
  local amount, window = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local found = redis.call('HMGET', key, 'value', 'resets')
  local value, resets = tonumber(found[1] or 0), tonumber(found[2] or 0)
  -- An end that is further away than the window is from before the clock was set back.
  if resets <= now or resets > now + window then value, resets = 0, now + window end
  if amount ~= 0 then
    value = math.max(value + amount, 0)
    redis.call('HSET', key, 'value', string.format('%.0f', value), 'resets', string.format('%.0f', resets))
    redis.call('PEXPIRE', key, window)
  end
  counts[2 * i - 1], counts[2 * i] = value, resets - now
end
return counts
`);

/** A lease is `client LF archive LF holder`, a download what is before the last of these. */
const LEASES = `${CLOCK}
local leases, downloads, clients = KEYS[1], KEYS[2], KEYS[3]
local now, lifetime = clock(ARGV[1]), tonumber(ARGV[2])

local function drop(lease)
  if redis.call('ZREM', leases, lease) == 0 then return end
  local download = lease:match('^(.*\\n.*)\\n')
  if redis.call('HINCRBY', downloads, download, -1) > 0 then return end
  redis.call('HDEL', downloads, download)
  local client = lease:match('^(.-)\\n')
  if redis.call('HINCRBY', clients, client, -1) <= 0 then redis.call('HDEL', clients, client) end
end

local function prune()
  for _, lease in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now)) do drop(lease) end
  -- From before the clock was set back.
  for _, lease in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. now + lifetime, '+inf')) do drop(lease) end
end

local function hold(lease)
  if redis.call('ZADD', leases, now + lifetime, lease) == 1 then
    local download = lease:match('^(.*\\n.*)\\n')
    if redis.call('HINCRBY', downloads, download, 1) == 1 then
      redis.call('HINCRBY', clients, lease:match('^(.-)\\n'), 1)
    end
  end
end

-- Nobody who holds one leaves them alone for so long.
local function keep()
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 2 * lifetime) end
end
`;

const ACQUIRE = redisScript(`${LEASES}
local lease, per_client, total = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
prune()
if redis.call('HEXISTS', downloads, lease:match('^(.*\\n.*)\\n')) == 0 then
  local own = tonumber(redis.call('HGET', clients, lease:match('^(.-)\\n')) or 0)
  if per_client > 0 and own >= per_client then return 'client-full' end
  if total > 0 and redis.call('HLEN', downloads) >= total then return 'service-full' end
end
hold(lease)
keep()
return 'granted'
`);

const RENEW = redisScript(`${LEASES}
for i = 3, #ARGV do hold(ARGV[i]) end
keep()
`);

const RELEASE = redisScript(`${LEASES}
drop(ARGV[3])
`);

const ACTIVE = redisScript(`${LEASES}
prune()
return tonumber(redis.call('HGET', clients, ARGV[3]) or 0)
`);

/**
 * Counts in a Redis that replicas share, by its clock.
 *
 * @param now milliseconds since the epoch, in place of that clock
 * @throws Error from Redis, in every method
 */
export function createRedisCountingStore(redis: Redis, now?: () => number): CountingStore {
  const time = (): number | string => now?.() ?? '';
  const leaseArguments = (): (number | string)[] => [time(), LEASE_MS];
  return {
    async add(additions) {
      if (additions.length === 0) return [];
      const keys = additions.map(({ counter }) => `${LIMITS_PREFIX}counter:${counter}`);
      const amounts = additions.flatMap(({ amount, window }) => [amount, window]);
      const counts = (await redis.run(ADD, keys, [time(), ...amounts])) as number[];
      return additions.map(
        (_, at): Count => ({ value: Number(counts[2 * at]), resetsIn: Number(counts[2 * at + 1]) }),
      );
    },
    acquire: async (lease, { perClient, total }: LeaseLimits) =>
      (await redis.run(ACQUIRE, LEASE_KEYS, [
        ...leaseArguments(),
        nameOf(lease),
        perClient,
        total,
      ])) as Acquisition,
    async renew(leases) {
      for (let at = 0; at < leases.length; at += RENEWED_AT_ONCE) {
        const some = leases.slice(at, at + RENEWED_AT_ONCE).map(nameOf);
        await redis.run(RENEW, LEASE_KEYS, [...leaseArguments(), ...some]);
      }
    },
    async release(lease) {
      await redis.run(RELEASE, LEASE_KEYS, [...leaseArguments(), nameOf(lease)]);
    },
    active: async (client) => Number(await redis.run(ACTIVE, LEASE_KEYS, [...leaseArguments(), client])),
    close: () => {},
  };
}

function nameOf({ client, archive, holder }: Lease): string {
  return `${client}\n${archive}\n${holder}`;
}

import rateLimit, { type FastifyRateLimitStore, type FastifyRateLimitStoreCtor } from '@fastify/rate-limit';
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { clientKey } from '../../limits/client-key.ts';
import type { Limits } from '../../limits/limits.ts';
import type { RequestLimit } from '../../limits/request-limit.ts';
import { clientAddress } from '../protocol/client-address.ts';

/** The rates that requests count toward. */
type RateName = keyof Limits['rates'];

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The rate that requests for a route count toward; `pages` if absent. */
    counts?: RateName | 'nothing';
  }
}

/** Counts a request. Throws if it exceeds the limit. */
export type CountRequest = (request: FastifyRequest, reply: FastifyReply) => Promise<void>;

/** Returns the client whose limits a request counts toward. */
export function clientOf(request: FastifyRequest): string {
  return clientKey(clientAddress(request));
}

/**
 * Counts each request toward the rate that its route names by `config.counts`, and states the limits in RateLimit headers.
 * Requests without a route count as pages, because every response has a cost. Call it on the root instance before the
 * routes.
 *
 * @returns counts a request that finds nothing as one of `requests`, unless it counts already
 */
export async function limitRequests(
  app: FastifyInstance,
  { rates, list }: Pick<Limits, 'rates' | 'list'>,
): Promise<CountRequest> {
  await app.register(rateLimit, { global: false, store: storeOf(rates, app.log) });
  const limiters = new Map(
    Object.entries(rates).map(([name, rate]) => [name, rate && createLimiter(app, rate)]),
  );
  const policies = list.map((limit) => limit.policyHeader()).join(', ');
  const counted = new WeakMap<FastifyRequest, RateName>();
  const count = async (name: RateName, request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (counted.get(request) === name) return;
    counted.set(request, name);
    await limiters.get(name)?.(request, reply);
  };
  const goOn = createRounds();
  app.addHook('onRequest', (request, reply, done) => {
    const { counts = 'pages' } = request.routeOptions.config;
    if (counts === 'nothing') return done();
    if (policies !== '') reply.header('ratelimit-policy', policies);
    count(counts, request, reply).then(() => goOn(done), done);
  });
  return (request, reply) => count('requests', request, reply);
}

/**
 * Collects work, and runs it together at the end of the current turn of the event loop. Otherwise, each response would
 * wake its client or the proxy on this machine, which takes a third of the CPU time of a short request.
 */
function createRounds(): (work: () => void) => void {
  let round: (() => void)[] = [];
  const run = (): void => {
    const all = round;
    round = [];
    for (const work of all) work();
  };
  return (work) => {
    if (round.length === 0) setImmediate(run);
    round.push(work);
  };
}

function createLimiter(app: FastifyInstance, rate: RequestLimit): CountRequest {
  const { name, limit } = rate;
  const limiter = app.createRateLimit({
    max: limit,
    keyGenerator: (request) => `${name} ${clientOf(request)}`,
  });
  return async (request, reply) => {
    const result = await limiter(request);
    if (result.isAllowed) return;
    const { remaining, ttl, ttlInSeconds, isExceeded } = result;
    reply.header('ratelimit', `"${name}";r=${remaining};t=${ttlInSeconds}`);
    // Programs that know only the draft's first versions don't request pages.
    if (name !== 'pages') {
      reply.headers({
        'ratelimit-limit': limit,
        'ratelimit-remaining': remaining,
        'ratelimit-reset': ttlInSeconds,
      });
    }
    if (isExceeded) throw rate.refusal(ttl);
  };
}

/** Returns the store of the rate limiter, which counts where all processes count. Its keys are `RATE CLIENT`. */
function storeOf(rates: Limits['rates'], log: FastifyBaseLogger): FastifyRateLimitStoreCtor {
  const byName = new Map(Object.values(rates).map((rate) => [rate?.name ?? '', rate]));
  const count = async (key: string) => {
    const end = key.indexOf(' ');
    const [name, client] = [key.slice(0, end), key.slice(end + 1)];
    const rate = byName.get(name);
    if (rate === undefined) throw new Error(`${name} is not a rate`);
    const { value, resetsIn } = await rate.count(client);
    // One line for a client and a window, however many requests follow.
    if (value === rate.limit + 1) log.info({ client }, `${client} has reached the rate of ${name}`);
    return { current: value, ttl: resetsIn };
  };
  return class Store implements FastifyRateLimitStore {
    incr(key: string, done: Parameters<FastifyRateLimitStore['incr']>[1]): void {
      count(key).then((counted) => done(null, counted), done);
    }
    child(): Store {
      return this;
    }
  };
}

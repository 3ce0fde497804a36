import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { clientKey } from '../../limits/client-key.ts';
import type { Limits } from '../../limits/limits.ts';
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
export function limitRequests(app: FastifyInstance, { rates, list }: Limits): CountRequest {
  const policies = list.map((limit) => limit.policyHeader()).join(', ');
  const counted = new WeakMap<FastifyRequest, RateName>();
  const count = async (name: RateName, request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const rate = rates[name];
    if (rate === undefined || counted.get(request) === name) return;
    counted.set(request, name);
    const client = clientOf(request);
    const { value, resetsIn } = await rate.count(client);
    const left = Math.max(rate.limit - value, 0);
    const seconds = Math.ceil(resetsIn / 1000);
    reply.header('ratelimit', `"${name}";r=${left};t=${seconds}`);
    // Programs that know only the draft's first versions don't request pages.
    if (name !== 'pages') {
      reply.headers({
        'ratelimit-limit': rate.limit,
        'ratelimit-remaining': left,
        'ratelimit-reset': seconds,
      });
    }
    if (value <= rate.limit) return;
    // One line for a client and a window, however many requests follow.
    if (value === rate.limit + 1) app.log.info({ client }, `${client} has reached the rate of ${name}`);
    throw rate.refusal(resetsIn);
  };
  app.addHook('onRequest', async (request, reply) => {
    const { counts = 'pages' } = request.routeOptions.config;
    if (counts === 'nothing') return;
    if (policies !== '') reply.header('ratelimit-policy', policies);
    await count(counts, request, reply);
  });
  return (request, reply) => count('requests', request, reply);
}

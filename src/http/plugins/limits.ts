import rateLimit from '@fastify/rate-limit';
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  onRequestAsyncHookHandler,
  preHandlerAsyncHookHandler,
} from 'fastify';
import { clientKey } from '../../limits/client-key.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Rate, RequestLimit } from '../../limits/request-limit.ts';
import { clientAddress } from '../protocol/client-address.ts';
import { isHealthCheck } from './clients.ts';

/** Counts a request, or throws where it is one too many. */
export type CountRequest = (request: FastifyRequest, reply: FastifyReply) => Promise<void>;

/** Answers past the limits that it reports; it counts as a page. */
export const LIMITS_URL = '/api/v1/limits';

/** Whose limits count for a request. */
export function clientOf(request: FastifyRequest): string {
  return clientKey(clientAddress(request));
}

/**
 * Counts the requests of each client for downloads and the API, but for the question what is left, and those that find
 * nothing, and tells in RateLimit headers what is left. All others but health checks count as pages, whatever their answer
 * is: each of them costs a little, too. Call it on the root instance before there are routes.
 *
 * @returns what counts a request that finds nothing; one that is counted is not counted again
 */
export async function limitRequests(app: FastifyInstance, limits: Limits): Promise<CountRequest> {
  const policies = policyHeader(limits);
  const limiter = limits.requests && (await createLimiter(app, limits.requests));
  const count: CountRequest = async (request, reply) => {
    if (limiter === undefined) return;
    await limiter.call(app, request, reply);
    const [remaining, reset] = ['remaining', 'reset'].map((name) => reply.getHeader(`ratelimit-${name}`));
    reply.header('ratelimit', `"requests";r=${remaining};t=${reset}`);
  };
  const countPage = createPageCounter(app, limits);
  const hook: onRequestAsyncHookHandler = async (request, reply) => {
    const { url = '' } = request.routeOptions;
    if (isHealthCheck(url)) return;
    if (policies !== '') reply.header('ratelimit-policy', policies);
    const isPage = url === LIMITS_URL || !/^\/(?:dl|api)(?:\/|$)/.test(url);
    await (isPage ? countPage : count)(request, reply);
  };
  app.addHook('onRequest', hook);
  return count;
}

/** Counts a request for a page. Throws if it exceeds the limit. */
function createPageCounter(app: FastifyInstance, { pages }: Pick<Limits, 'pages'>): CountRequest {
  return async (request, reply) => {
    if (pages === undefined) return;
    const client = clientOf(request);
    const { value, resetsIn } = await pages.count(client);
    const left = Math.max(pages.limit - value, 0);
    reply.header('ratelimit', `"pages";r=${left};t=${Math.ceil(resetsIn / 1000)}`);
    if (value <= pages.limit) return;
    if (value === pages.limit + 1) app.log.info({ client }, `${client} has reached the rate of pages`);
    throw pages.refusal(resetsIn);
  };
}

async function createLimiter(
  app: FastifyInstance,
  requests: RequestLimit,
): Promise<preHandlerAsyncHookHandler> {
  type Incremented = (error: Error | null, result?: { current: number; ttl: number }) => void;
  class Store {
    incr(client: string, done: Incremented): void {
      requests.count(client).then(({ value, resetsIn }) => {
        // One line for a client and a window, however often it asks.
        if (value === requests.limit + 1)
          app.log.info({ client }, `${client} has reached the rate of requests`);
        done(null, { current: value, ttl: resetsIn });
      }, done);
    }
    child(): Store {
      return this;
    }
  }
  await app.register(rateLimit, {
    global: false,
    max: requests.limit,
    timeWindow: requests.window,
    store: Store,
    keyGenerator: clientOf,
    // RateLimit-Limit, -Remaining and -Reset without X-: those of the draft's versions up to 07.
    enableDraftSpec: true,
    errorResponseBuilder: (_request, { ttl }) => requests.refusal(ttl),
  });
  return app.rateLimit();
}

/**
 * What every client may have, as the draft's newer versions write it.
 *
 * @see https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-10#section-3
 */
function policyHeader({ requests, pages, downloads, bytes, bandwidth }: Limits): string {
  const { perClient, connections } = downloads;
  return [
    ...(requests ? [ratePolicy('requests', requests)] : []),
    ...(pages ? [ratePolicy('pages', pages)] : []),
    ...(perClient > 0 ? [`"downloads";q=${perClient};qu="concurrent-requests"`] : []),
    ...(connections > 0 ? [`"connections";q=${connections};qu="concurrent-requests"`] : []),
    ...(bytes ? [`"bytes";q=${bytes.limit};w=86400;qu="content-bytes"`] : []),
    ...(bandwidth ? [`"bandwidth";q=${bandwidth.rate};w=1;qu="content-bytes"`] : []),
  ].join(', ');
}

function ratePolicy(name: string, { limit, window }: Rate): string {
  return `"${name}";q=${limit};w=${Math.ceil(window / 1000)}`;
}

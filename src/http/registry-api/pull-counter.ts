import type { FastifyReply, FastifyRequest } from 'fastify';
import { familiarReference, type Reference } from '../../oci/reference.ts';
import type { MemoryCaches } from '../../util/memory-caches.ts';
import { type CountRequest, clientOf } from '../plugins/limits.ts';
import { clientAddress } from '../protocol/client-address.ts';

/** Counts a request of a pull toward the rate of requests. Throws if it exceeds the limit. */
export type CountPull = (request: FastifyRequest, reply: FastifyReply, reference: Reference) => Promise<void>;

/** Milliseconds without a request after which a pull is over. */
const IDLE_MS = 60_000;
/** Bytes, enough for about five thousand pulls. */
const LIMIT = 2 * 2 ** 20;

/**
 * Counts each request for a tag, and the first request of a client for a repository, which it also logs. The rate of pages
 * bounds the requests that follow, because an image may have a hundred layers.
 */
export function createPullCounter(count: CountRequest, caches: MemoryCaches): CountPull {
  const pulls = caches.open<true>({ name: 'pulls', limit: LIMIT, ttl: IDLE_MS });
  return async (request, reply, reference) => {
    const key = `${clientOf(request)} ${reference.name}`;
    const isContinued = pulls.get(key) === true;
    if (reference.tagGiven || !isContinued) await count(request, reply);
    // Set after the count: a refused request must not let the next one pass.
    pulls.set(key, true);
    if (isContinued) return;
    const image = familiarReference(reference);
    request.log.info({ kind: 'pull', image, client: clientAddress(request) }, `Pulling image: ${image}`);
  };
}

import type { FastifyReply } from 'fastify';

/** Aborts as soon as the client disconnects, so that the work for its response ends. */
export function abortOnDisconnect(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  // If the client disconnected before its request reached this point, no further event follows.
  if (reply.raw.destroyed) gone.abort();
  else reply.raw.once('close', () => gone.abort());
  return gone.signal;
}

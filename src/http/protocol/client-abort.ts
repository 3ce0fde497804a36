import type { FastifyReply } from 'fastify';
import { ABORTED } from '../../util/aborted.ts';

/** Aborts as soon as the client disconnects, so that the work for its response ends. */
export function abortOnDisconnect(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  // If the client disconnected before its request reached this point, no further event follows.
  if (reply.raw.destroyed) gone.abort(ABORTED);
  else reply.raw.on('close', () => gone.abort(ABORTED));
  return gone.signal;
}

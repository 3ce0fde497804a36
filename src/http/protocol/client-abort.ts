import type { FastifyReply } from 'fastify';
import { ABORTED } from '../../util/aborted.ts';

/** Aborts as soon as the client disconnects, so that the work for its response ends. */
export function abortOnDisconnect(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  whenOver(reply, () => gone.abort(ABORTED));
  return gone.signal;
}

/** Does something when the response ends, however it ends. */
export function whenOver({ raw }: Pick<FastifyReply, 'raw'>, work: () => void): void {
  // If the client disconnected before its request reached this point, no further event follows.
  if (raw.destroyed) work();
  else raw.on('close', work);
}

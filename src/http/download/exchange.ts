import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FileQuery } from '../../download/query.ts';
import type { DownloadLimits } from './limits.ts';
import type { DownloadObserver } from './observer.ts';

/** One request for a file, and everything that its response needs. */
export interface Exchange {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly query: FileQuery;
  readonly limits: DownloadLimits;
  /** Undefined if the response is not an archive. */
  readonly observer: DownloadObserver | undefined;
  /** Aborts when the response ends. */
  readonly signal: AbortSignal;
}

/** Tells whether a request needs a body. */
export function isGet({ request }: Exchange): boolean {
  return request.method !== 'HEAD';
}

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyBaseLogger } from 'fastify';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { nodeHttp } from '../../util/builtins.ts';
import { problem } from '../problems/problem.ts';

/** Responds to bytes that the parser refused, because no route can. */
export type ClientErrorHandler = (error: ParserError, socket: Socket) => void;

/** An error from Node's parser; `reason` states what the parser expected. */
type ParserError = Error & { readonly code?: string; readonly reason?: string };

/** Call {@link AnswerWatch.watch} on the server before it listens. */
export interface AnswerWatch {
  watch(server: Server): void;
  readonly handler: ClientErrorHandler;
}

/**
 * Sends a problem for bytes that are not a request, and for requests that do not arrive. During a response on the same
 * connection, it closes the connection instead, because a problem would look like a part of that response.
 */
export function answerClientErrors(log: FastifyBaseLogger): AnswerWatch {
  const answering = new WeakMap<Socket, number>();
  const add = (socket: Socket, more: number): void => {
    answering.set(socket, (answering.get(socket) ?? 0) + more);
  };
  return {
    watch(server) {
      server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
        add(socket, 1);
        response.once('close', () => add(socket, -1));
      });
    },
    handler(error, socket) {
      if (socket.destroyed || error.code === 'ECONNRESET') return;
      const known = catalogued(error);
      log.debug({ client: socket.remoteAddress, code: known.code, cause: error.code }, known.message);
      if (!socket.writable || (answering.get(socket) ?? 0) > 0) socket.destroy();
      else socket.end(answer(known), () => socket.destroy());
    },
  };
}

function catalogued({ code, reason }: ParserError): ServiceError {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new ServiceError('request-timeout', detail('request-slow', {}));
  if (code === 'HPE_HEADER_OVERFLOW') return new ServiceError('headers-too-large', detail('head-large', {}));
  // The parser uses the same code for a line that does not end with CRLF.
  const isOddLine = code === 'HPE_INVALID_VERSION' && reason?.startsWith('Expected CRLF') === true;
  if ((code === 'HPE_INVALID_VERSION' && !isOddLine) || code === 'HPE_PAUSED_H2_UPGRADE')
    return new ServiceError('http-version-unsupported', detail('http-version-other', {}));
  return new ServiceError('request-malformed', detail('request-unreadable', {}));
}

function answer(error: ServiceError): string {
  const body = JSON.stringify(problem(error));
  return [
    `HTTP/1.1 ${error.status} ${nodeHttp().STATUS_CODES[error.status]}`,
    'connection: close',
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    'cache-control: no-store',
    'x-content-type-options: nosniff',
    '',
    body,
  ].join('\r\n');
}

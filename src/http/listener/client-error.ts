import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyBaseLogger } from 'fastify';
import { ServiceError } from '../../errors.ts';
import { nodeHttp } from '../../util/builtins.ts';
import { problem } from '../problems/problem.ts';

/** Answers what the parser refused: there is no request that a route could answer. */
export type ClientErrorHandler = (error: ParserError, socket: Socket) => void;

/** An error from Node's parser; `reason` states what the parser expected. */
type ParserError = Error & { readonly code?: string; readonly reason?: string };

/** Call {@link AnswerWatch.watch} on the server before it listens. */
export interface AnswerWatch {
  watch(server: Server): void;
  readonly handler: ClientErrorHandler;
}

/**
 * Answers bytes that are no request, and requests that do not come, with a problem; or, where an answer is under way on
 * the connection, by its end: whatever is written then would be taken for a part of that answer.
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
    return new ServiceError('request-timeout', 'The request did not come in time.');
  if (code === 'HPE_HEADER_OVERFLOW')
    return new ServiceError('headers-too-large', 'The head of the request is too large.');
  // The parser uses the same code for a line that does not end with CRLF.
  const isOddLine = code === 'HPE_INVALID_VERSION' && reason?.startsWith('Expected CRLF') === true;
  if ((code === 'HPE_INVALID_VERSION' && !isOddLine) || code === 'HPE_PAUSED_H2_UPGRADE')
    return new ServiceError(
      'http-version-unsupported',
      'The request line names a version of HTTP that this service does not support.',
    );
  return new ServiceError('request-malformed', 'The request cannot be read.');
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

import accepts from 'accepts';
import type { FastifyReply } from 'fastify';
import type { ServiceError } from '../../errors.ts';
import type { RenderProblem } from './problem-page.ts';
import type { Translate, Translation } from './translations.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Absent if errors are only in English and without a page. */
    explainProblem?: Translate;
    renderProblem?: RenderProblem;
  }
}

const REASON_MAX = 120;

/**
 * Answers with an error: problem details, or HTML or plain text if the client prefers them. wget shows only the
 * reason phrase, so the phrase describes the case.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9457
 */
export function sendProblem(reply: FastifyReply, error: ServiceError): FastifyReply {
  setErrorHeaders(reply, error);
  reply.header('vary', 'accept, accept-language, cookie');

  const { request, server } = reply;
  const preferred = accepts(request.raw).type([
    'application/problem+json',
    'application/json',
    'text/html',
    'text/plain',
  ]);
  const explanation = server.explainProblem?.(error, request.raw);
  if (preferred === 'text/html' && explanation !== undefined && server.renderProblem !== undefined) {
    return reply.type('text/html; charset=utf-8').send(server.renderProblem(error, explanation, request));
  }
  if (preferred === 'text/plain' || preferred === 'text/html')
    return reply.type('text/plain; charset=utf-8').send(plain(error));
  return reply.type('application/problem+json').send(JSON.stringify(problem(error, explanation)));
}

/** Sets the status and the headers of an error, whatever its body is. */
export function setErrorHeaders(reply: FastifyReply, error: ServiceError): void {
  reply.problem = error;
  reply.raw.statusMessage = reasonPhrase(error.reason);
  reply.status(error.status).headers({ ...error.headers, 'cache-control': 'no-store' });
  if (error.retryAfter !== undefined) reply.header('retry-after', error.retryAfter);
}

/** Creates the members of problem details, in English without a translation. */
export function problem(error: ServiceError, translation?: Translation): object {
  const { code, status, retryAfter, members } = error;
  const { title, help, detail } = translation ?? { ...error, detail: error.message };
  return {
    type: `urn:dockerproxy:error:${code}`,
    title,
    status,
    detail,
    code,
    help,
    retryAfter,
    ...members,
  };
}

function plain({ status, title, message, help }: ServiceError): string {
  return `${status} ${title}\n\n${message}\n${help}\n`;
}

/** Returns one line of printable ASCII. Other characters could end or forge the head of the response. */
function reasonPhrase(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, REASON_MAX);
}

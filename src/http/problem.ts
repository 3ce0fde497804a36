import accepts from 'accepts';
import type { FastifyReply } from 'fastify';
import type { CatalogueError } from '../errors.ts';
import { escapeHtml } from './html.ts';

/** What a route may have set of the archive that was not sent. */
const ARCHIVE_HEADERS = [
  'accept-ranges',
  'cache-control',
  'content-disposition',
  'content-length',
  'content-range',
  'content-type',
  'digest',
  'docker-content-digest',
  'dockerproxy-notice',
  'etag',
  'link',
  'repr-digest',
  'x-accel-buffering',
];
const REASON_MAX = 120;

/**
 * Answers with an error: problem details, or HTML or plain text where the client prefers them. The reason phrase is
 * all that wget shows of it, so it says what it can.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9457
 */
export function sendProblem(reply: FastifyReply, error: CatalogueError): FastifyReply {
  for (const name of ARCHIVE_HEADERS) {
    reply.removeHeader(name);
    reply.raw.removeHeader(name);
  }
  reply.problem = error;
  reply.raw.statusMessage = reasonPhrase(error.reason);
  reply.status(error.status).headers({ ...error.headers, 'cache-control': 'no-store', vary: 'accept' });
  if (error.retryAfter !== undefined) reply.header('retry-after', error.retryAfter);

  const preferred = accepts(reply.request.raw).type([
    'application/problem+json',
    'application/json',
    'text/html',
    'text/plain',
  ]);
  if (preferred === 'text/html') return reply.type('text/html; charset=utf-8').send(html(error));
  if (preferred === 'text/plain') return reply.type('text/plain; charset=utf-8').send(plain(error));
  return reply.type('application/problem+json').send(JSON.stringify(problem(error)));
}

/** The members of problem details. */
export function problem({ code, title, status, message, help, retryAfter, members }: CatalogueError): object {
  return {
    type: `urn:dockerproxy:error:${code}`,
    title,
    status,
    detail: message,
    code,
    help,
    retryAfter,
    ...members,
  };
}

function plain({ status, title, message, help }: CatalogueError): string {
  return `${status} ${title}\n\n${message}\n${help}\n`;
}

function html({ status, title, message, help }: CatalogueError): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<h1>${status} ${escapeHtml(title)}</h1>
<p>${escapeHtml(message)}</p>
<p>${escapeHtml(help)}</p>
<p><a href="/">DockerProxy</a></p>
`;
}

/** One line of printable ASCII: anything else would end, or forge, the head of the response. */
function reasonPhrase(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, REASON_MAX);
}

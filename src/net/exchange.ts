import type { Dispatcher } from 'undici';
// undici's index would load 85 more files, including fetch and WebSocket, which takes 60 ms and 14 MB.
import send from 'undici/lib/api/api-request.js';
import { untilAborted } from '../util/until-aborted.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { isPlainLength, wrongLength } from './one-more-try.ts';

/** Headers whose lines form one list. @see https://www.rfc-editor.org/rfc/rfc9110#section-5.3 */
const LISTS: ReadonlySet<string> = new Set(['link', 'www-authenticate']);

/** A response, without the memory management of {@link HttpResponse}. */
export type Answer = Pick<HttpResponse, 'status' | 'header' | 'body'>;

/** Sends one request over a dispatcher and waits for the head of its response. Throws undici's errors. */
export async function exchange(
  dispatcher: Dispatcher,
  { origin, pathname, search }: URL,
  { method = 'GET', headers, body }: HttpRequest,
  signal: AbortSignal,
): Promise<Answer> {
  const sent = send.call(dispatcher, {
    origin,
    path: `${pathname}${search}`,
    method,
    headers: headers ?? {},
    body: body ?? null,
    signal,
    // Otherwise, undici closes the connection after each HEAD.
    reset: false,
  });
  // undici acts on a signal only once the request is on a connection.
  const response = await untilAborted(sent, signal, (late) => late.body.on('error', () => {}).destroy());
  if (!isPlainLength(response.headers['content-length'])) {
    response.body.destroy();
    throw wrongLength();
  }
  const header = (name: string): string | undefined => {
    const lines = [response.headers[name] ?? []].flat();
    return (LISTS.has(name) ? lines.join(', ') : lines[0]) || undefined;
  };
  return { status: response.statusCode, header, body: response.body };
}

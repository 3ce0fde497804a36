import type { ServerResponse } from 'node:http';

/** Milliseconds. wget gives up after 900 s without a byte, many a proxy after 60 s. */
const INTERVAL_MS = 45_000;
/**
 * Clients that were seen to wait on for the answer. Python's http.client takes a 102 for the answer itself, and undici
 * breaks the connection off at a 100, so that there is no interim response for everybody.
 */
const PATIENT_CLIENTS = /^(?:wget|curl|aria2)\//i;

/**
 * Tells the client, for as long as the work takes, that its answer is on the way, by interim responses, which have no
 * part in the answer.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-15.2
 * @see https://www.rfc-editor.org/rfc/rfc2518#section-10.1
 */
export async function keepAlive<T>(
  response: ServerResponse,
  work: Promise<T>,
  interval: number = INTERVAL_MS,
): Promise<T> {
  const { headers, httpVersionMinor } = response.req;
  // HTTP/1.0 has no interim responses.
  if (httpVersionMinor < 1 || !PATIENT_CLIENTS.test(headers['user-agent'] ?? '')) return work;
  const timer = setInterval(() => {
    if (!response.headersSent && !response.destroyed) response.writeProcessing();
  }, interval);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

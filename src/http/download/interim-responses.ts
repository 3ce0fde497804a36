import type { ServerResponse } from 'node:http';

/** Milliseconds. wget gives up after 900 s without a byte, and many proxies after 60 s. */
const INTERVAL_MS = 45_000;
/**
 * Clients that are known to accept interim responses. Others fail: Python's http.client takes a 102 for the final
 * response, and undici closes the connection at a 100.
 */
const PATIENT_CLIENTS = /^(?:wget|curl|aria2)\//i;

/**
 * Sends interim responses during the work, so that the client knows that its response will follow.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-15.2
 * @see https://www.rfc-editor.org/rfc/rfc2518#section-10.1
 */
export async function withInterimResponses<T>(
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

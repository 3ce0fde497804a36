import type { ServerResponse } from 'node:http';

/** Milliseconds. wget gives up after 900 s without a byte, proxies after 60 s or so. */
const INTERVAL_MS = 45_000;

/**
 * Tells the client, for as long as the work takes, that its answer is on the way, by interim responses. They have no
 * part in the answer, and clients that do not know them pass over them.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-15.2
 * @see https://www.rfc-editor.org/rfc/rfc2518#section-10.1
 */
export async function keepAlive<T>(
  response: ServerResponse,
  work: Promise<T>,
  interval: number = INTERVAL_MS,
): Promise<T> {
  // HTTP/1.0 has no interim responses.
  const isKnown = response.req.httpVersionMinor >= 1;
  const timer = setInterval(() => {
    if (isKnown && !response.headersSent && !response.destroyed) response.writeProcessing();
  }, interval);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

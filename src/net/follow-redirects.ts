import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import { drain } from './body.ts';
import type { HttpRequest, HttpResponse } from './http.ts';

/** The position of a request in a chain of redirects. */
export interface Hop {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** How many redirects may still follow. */
  readonly remaining: number;
}

/** Go's client, and with it Docker, gives up after 10 requests; containerd and curl follow more redirects. */
const MAX_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/**
 * Sends a request and follows the redirects of GET and HEAD.
 *
 * @param send sends the request of one hop
 * @throws ServiceError as {@link nextHop} and `send` do
 */
export async function followRedirects(
  url: URL,
  { method, headers = {} }: HttpRequest,
  send: (hop: Hop) => Promise<HttpResponse>,
): Promise<HttpResponse> {
  let hop: Hop = { url, headers, remaining: MAX_REDIRECTS };
  for (;;) {
    const response = await send(hop);
    try {
      const next = method === 'POST' ? undefined : nextHop(hop, response.status, response.header('location'));
      if (next === undefined) return response;
      hop = next;
    } catch (error) {
      // Nothing reads the body of a refused redirect. A long one would keep its connection open forever.
      response.body.on('error', () => {}).destroy();
      throw error;
    }
    await drain(response);
  }
}

/**
 * Returns the hop after a response to a GET or HEAD; undefined if the response is not a redirect. Credentials stay at
 * the exact origin that they belong to. A later redirect back to that origin does not restore them.
 *
 * @throws ServiceError `registry-failed` for an invalid URL and after too many redirects
 * @see https://fetch.spec.whatwg.org/#http-redirect-fetch
 */
export function nextHop(hop: Hop, status: number, location: string | undefined): Hop | undefined {
  if (!REDIRECTS.has(status) || location === undefined) return undefined;
  if (hop.remaining === 0) {
    throw new ServiceError('registry-failed', detail('redirects-exceeded', { host: hop.url.host }), {
      isFinal: true,
    });
  }
  const target = percentEncoded(location);
  if (!URL.canParse(target, hop.url.href)) {
    throw new ServiceError('registry-failed', detail('redirect-invalid', { host: hop.url.host }), {
      isFinal: true,
    });
  }
  const url = new URL(target, hop.url);
  const headers = url.origin === hop.url.origin ? hop.headers : withoutCredentials(hop.headers);
  return { url, headers, remaining: hop.remaining - 1 };
}

/** Percent-encodes the bytes of a header, which Node.js decodes as latin1; mostly they are a path in UTF-8. */
function percentEncoded(location: string): string {
  return location.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`);
}

function withoutCredentials(headers: Hop['headers']): Hop['headers'] {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !['authorization', 'cookie'].includes(name.toLowerCase())),
  );
}

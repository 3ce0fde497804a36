import { ServiceError } from '../errors.ts';

/** Where a request stands in a chain of redirects. */
export interface Hop {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** How many redirects may still follow. */
  readonly remaining: number;
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/**
 * The hop that follows a response to a GET or HEAD; undefined where the response is no redirect. Credentials go to
 * the exact origin that they belong to and to no other, nor back to it later in the chain.
 *
 * @throws ServiceError `registry-failed` on a target that is no URL and at the end of the chain
 * @see https://fetch.spec.whatwg.org/#http-redirect-fetch
 */
export function nextHop(hop: Hop, status: number, location: string | undefined): Hop | undefined {
  if (!REDIRECTS.has(status) || location === undefined) return undefined;
  if (hop.remaining === 0) {
    throw new ServiceError('registry-failed', `${hop.url.host} redirects too many times.`, {
      isFinal: true,
    });
  }
  const target = percentEncoded(location);
  if (!URL.canParse(target, hop.url.href)) {
    throw new ServiceError('registry-failed', `${hop.url.host} redirects to an invalid URL.`, {
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

import { ServiceError } from '../errors.ts';
import { drain, readBody } from '../net/body.ts';
import type { HttpClient } from '../net/http.ts';
import { createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';
import { createSingleFlight } from '../util/single-flight.ts';
import { statusError } from './status-error.ts';

export interface HubApiOptions {
  readonly http: HttpClient;
  /** The URL of Docker Hub's search, or of a compatible service. */
  readonly url: URL;
  /** A monotonic clock, in milliseconds. */
  readonly now: () => number;
  /** The list to which its cache is added. */
  readonly caches?: MemoryCaches;
}

/** Asks a URL of Docker Hub's API. Returns undefined while the API is unavailable, which is not an error. */
export type AskHub<Answer> = (url: URL, signal: AbortSignal) => Promise<Answer | undefined>;

const PATIENCE_MS = 4000;
const BODY_LIMIT = 2 ** 20;
/** Bytes, enough for about two thousand answers. */
const REMEMBERED_LIMIT = 8 * 2 ** 20;
const TTL_MS = 10 * 60_000;
/** Keystrokes must not each wait for an unavailable API. */
const FAILURE_TTL_MS = 20_000;

/**
 * Creates a client that caches answers, joins equal requests, and pauses after a failure.
 *
 * @param parse reads a body. Throws if the body is not an answer.
 */
export function createHubApi<Answer extends object>(
  { http, now, caches = createMemoryCaches(now) }: HubApiOptions,
  { name, parse }: { readonly name: string; readonly parse: (body: Uint8Array) => Answer },
): AskHub<Answer> {
  type Known = { readonly answer: Answer | undefined };
  const known = caches.open<Known>({ name, limit: REMEMBERED_LIMIT, ttl: TTL_MS });
  const share = createSingleFlight<Known>();
  let pausedUntil = Number.NEGATIVE_INFINITY;

  const ask = async (url: URL, signal: AbortSignal): Promise<Answer> => {
    const response = await http.request(url, { headers: { accept: 'application/json' } }, signal);
    if (response.status !== 200) {
      await drain(response);
      throw statusError(response);
    }
    return parse(await readBody(response, BODY_LIMIT));
  };

  return async (url, signal) => {
    const key = url.href;
    const before = known.get(key);
    if (before !== undefined) return before.answer;
    if (now() < pausedUntil) return undefined;
    const { answer } = await share(
      key,
      async (shared) => {
        try {
          const limited = AbortSignal.any([shared, AbortSignal.timeout(PATIENCE_MS)]);
          const found = { answer: await ask(url, limited) };
          known.set(key, found);
          return found;
        } catch (error) {
          const asked = error instanceof ServiceError ? (error.pause ?? 0) : 0;
          if (!shared.aborted) pausedUntil = now() + Math.max(FAILURE_TTL_MS, asked);
          return { answer: undefined };
        }
      },
      signal,
    );
    return answer;
  };
}

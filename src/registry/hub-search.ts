import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import { drain, readBody } from '../net/body.ts';
import type { HttpClient } from '../net/http.ts';
import { isJsonObject, parseJsonObject } from '../oci/json.ts';
import { familiarName, type Reference, referenceOrNone } from '../oci/reference.ts';
import { createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';
import { createSingleFlight } from '../util/single-flight.ts';
import { statusError } from './status-error.ts';

/** A repository in the results of a search. */
export interface FoundRepository {
  readonly reference: Reference;
  /** As people write it: `nginx`, `grafana/grafana`. */
  readonly name: string;
  readonly description: string;
  readonly stars: number;
  /** True if Docker itself publishes it. */
  readonly official: boolean;
}

/** Finds repositories by words; undefined while the search is unavailable, which is not an error. */
export type RepositorySearch = (
  query: string,
  signal: AbortSignal,
) => Promise<readonly FoundRepository[] | undefined>;

export interface RepositorySearchOptions {
  readonly http: HttpClient;
  /** The URL of Docker Hub's search, or of a compatible service. */
  readonly url: URL;
  /** A monotonic clock, in milliseconds. */
  readonly now: () => number;
  /** The list to which its cache is added. */
  readonly caches?: MemoryCaches;
}

const PATIENCE_MS = 4000;
const PAGE_SIZE = '10';
const BODY_LIMIT = 256 * 1024;
const DESCRIPTION_MAX = 160;
/** Bytes, enough for about two thousand answers. */
const REMEMBERED_LIMIT = 8 * 2 ** 20;
const TTL_MS = 10 * 60_000;
/** Keystrokes must not each wait for an unavailable search. */
const FAILURE_TTL_MS = 20_000;

/** Searches by Docker Hub's API: `GET ?query=WORDS` → `{"results": [{"repo_name", "short_description", …}]}`. */
export function createRepositorySearch({
  http,
  url,
  now,
  caches = createMemoryCaches(now),
}: RepositorySearchOptions): RepositorySearch {
  type Answer = { readonly found: readonly FoundRepository[] | undefined };
  const known = caches.open<Answer>({ name: 'searches', limit: REMEMBERED_LIMIT, ttl: TTL_MS });
  const share = createSingleFlight<Answer>();
  let pausedUntil = Number.NEGATIVE_INFINITY;

  const ask = async (query: string, signal: AbortSignal): Promise<readonly FoundRepository[]> => {
    const asked = new URL(url);
    asked.searchParams.set('query', query);
    asked.searchParams.set('page_size', PAGE_SIZE);
    const response = await http.request(asked, { headers: { accept: 'application/json' } }, signal);
    if (response.status !== 200) {
      await drain(response);
      throw statusError(response);
    }
    return parseResults(await readBody(response, BODY_LIMIT));
  };

  return async (query, signal) => {
    const key = query.trim().toLowerCase();
    const before = known.get(key);
    if (before !== undefined) return before.found;
    if (now() < pausedUntil) return undefined;
    const { found } = await share(
      key,
      async (shared) => {
        try {
          const answer = {
            found: await ask(key, AbortSignal.any([shared, AbortSignal.timeout(PATIENCE_MS)])),
          };
          known.set(key, answer);
          return answer;
        } catch (error) {
          const asked = error instanceof ServiceError ? (error.pause ?? 0) : 0;
          if (!shared.aborted) pausedUntil = now() + Math.max(FAILURE_TTL_MS, asked);
          return { found: undefined };
        }
      },
      signal,
    );
    return found;
  };
}

function parseResults(bytes: Uint8Array): FoundRepository[] {
  const results = parseJsonObject(bytes)?.results;
  if (!Array.isArray(results)) throw new ServiceError('registry-failed', detail('search-unreadable', {}));
  return results.flatMap((result: unknown) => {
    if (!isJsonObject(result) || typeof result.repo_name !== 'string') return [];
    const reference = referenceOrNone(result.repo_name);
    if (reference?.domain !== 'docker.io' || reference.tagGiven || reference.digest !== undefined) return [];
    const { short_description: description, star_count: stars, is_official: official } = result;
    return [
      {
        reference,
        name: familiarName(reference),
        description: typeof description === 'string' ? oneLine(description) : '',
        stars: typeof stars === 'number' && Number.isSafeInteger(stars) && stars > 0 ? stars : 0,
        official: official === true,
      },
    ];
  });
}

/** Publishers write the description, so remove control characters and those that change the text direction. */
function oneLine(text: string): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').trim();
  return plain.length > DESCRIPTION_MAX ? `${plain.slice(0, DESCRIPTION_MAX - 1)}…` : plain;
}

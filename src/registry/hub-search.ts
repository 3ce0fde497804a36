import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import { isJsonObject, parseJsonObject } from '../oci/json.ts';
import { familiarName, type Reference, referenceOrNone } from '../oci/reference.ts';
import { createHubApi, type HubApiOptions } from './hub-api.ts';

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

const PAGE_SIZE = '10';
const DESCRIPTION_MAX = 160;

/** Searches by Docker Hub's API: `GET ?query=WORDS` → `{"results": [{"repo_name", "short_description", …}]}`. */
export function createRepositorySearch(options: HubApiOptions): RepositorySearch {
  const ask = createHubApi(options, { name: 'searches', parse: parseResults });
  return (query, signal) => {
    const asked = new URL(options.url);
    asked.searchParams.set('query', query.trim().toLowerCase());
    asked.searchParams.set('page_size', PAGE_SIZE);
    return ask(asked, signal);
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

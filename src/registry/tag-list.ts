import { CatalogueError } from '../errors.ts';
import { drain, type HttpResponse, readBody } from '../net/http-client.ts';
import { parseJsonObject } from '../oci/json.ts';
import type { Repository } from '../oci/reference.ts';
import { nextPage } from './next-page.ts';
import { missingOrPrivate, statusError } from './status-error.ts';

/** The tags of a repository in the registry's order. */
export interface TagList {
  readonly tags: readonly string[];
  /** False where there are more than were read. */
  readonly isComplete: boolean;
}

/** Asks for `tags/list` with a query such as `?n=1000&last=1.27`. */
export type AskForTags = (query: string) => Promise<HttpResponse>;

const PAGE_SIZE = 1000;
const MAX_PAGES = 40;
const MAX_TAGS = 20_000;
const PAGE_LIMIT = 4 * 1024 * 1024;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/**
 * Reads the tags of a repository page by page, up to a limit.
 *
 * @throws CatalogueError `image-not-found`, `registry-failed`, or what the upstream's trouble is
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
 */
export async function listTags(repository: Repository, ask: AskForTags): Promise<TagList> {
  const tags = new Set<string>();
  const asked = new Set<string>();
  let query: string | undefined = `?n=${PAGE_SIZE}`;
  while (query !== undefined && asked.size < MAX_PAGES && tags.size < MAX_TAGS) {
    asked.add(query);
    const response = await ask(query);
    if (response.status !== 200) {
      await drain(response);
      throw [403, 404].includes(response.status) ? missingOrPrivate(repository) : statusError(response);
    }
    for (const tag of parsePage(await readBody(response, PAGE_LIMIT), response)) tags.add(tag);
    const next = nextPage(response.header('link'), repository, 'tags/list', response.url);
    // A registry that sends us in a circle, or elsewhere, has told all it will.
    query = next === undefined || next === 'astray' || asked.has(next) ? undefined : next;
  }
  return { tags: [...tags].slice(0, MAX_TAGS), isComplete: query === undefined && tags.size <= MAX_TAGS };
}

function parsePage(bytes: Uint8Array, { url }: HttpResponse): string[] {
  const body = parseJsonObject(bytes);
  // An empty repository has null for a list with some registries.
  const tags = body === undefined ? undefined : (body.tags ?? []);
  if (!Array.isArray(tags)) {
    throw new CatalogueError('registry-failed', `${url.host} sent a list of tags that cannot be read.`);
  }
  return tags.filter((tag) => typeof tag === 'string' && TAG.test(tag));
}

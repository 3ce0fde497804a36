import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import { drain, readBody } from '../net/body.ts';
import type { HttpResponse } from '../net/http.ts';
import { parseJsonObject } from '../oci/json.ts';
import { isTag, type Repository } from '../oci/reference.ts';
import { nextPage } from './next-page.ts';
import { missingOrPrivate, statusError } from './status-error.ts';

/** The tags of a repository in the registry's order. */
export interface TagList {
  readonly tags: readonly string[];
  /** False if the registry has more tags than were read. */
  readonly isComplete: boolean;
}

/** Asks for `tags/list` with a query such as `?n=1000&last=1.27`. */
export type AskForTags = (query: string) => Promise<HttpResponse>;

const PAGE_SIZE = 1000;
const FIRST_PAGE = `?n=${PAGE_SIZE}`;
const MAX_PAGES = 40;
const MAX_TAGS = 20_000;
/** Maximum characters of all tags that are read, sorted, and cached. Tags of real repositories have about 20 each. */
const MAX_CHARACTERS = 2 ** 20;
const PAGE_LIMIT = 4 * 1024 * 1024;
/** Bytes of all pages after which no further one is requested. Tags that are invalid or repeated count, too. */
const LIST_LIMIT = 4 * 1024 * 1024;

/**
 * Reads the tags of a repository page by page, up to a limit. After a full page without a link, continues with `last`,
 * because some registries truncate the list silently.
 *
 * @throws ServiceError `image-not-found`, `registry-failed`, or an error of the upstream
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
 */
export async function listTags(repository: Repository, ask: AskForTags): Promise<TagList> {
  const tags = new Set<string>();
  const asked = new Set<string>();
  let characters = 0;
  let bytes = 0;
  let isFull = false;
  const add = (tag: string): void => {
    if (tags.has(tag)) return;
    isFull ||= tags.size >= MAX_TAGS || characters + tag.length > MAX_CHARACTERS;
    if (isFull) return;
    characters += tag.length;
    tags.add(tag);
  };
  const listed = (isComplete: boolean): TagList => ({ tags: [...tags], isComplete: isComplete && !isFull });
  let query = FIRST_PAGE;
  let isGuess = false;
  let takesLast = false;
  while (
    !asked.has(query) &&
    asked.size < MAX_PAGES &&
    tags.size < MAX_TAGS &&
    bytes < LIST_LIMIT &&
    !isFull
  ) {
    asked.add(query);
    const response = await ask(query);
    if (response.status !== 200) {
      await drain(response);
      // The registry did not offer this page, so its error is not one of the list.
      if (isGuess) return listed(false);
      throw [403, 404].includes(response.status) ? missingOrPrivate(repository) : statusError(response);
    }
    const body = await readBody(response, PAGE_LIMIT);
    const page = parsePage(body, response);
    bytes += body.length;
    const known = tags.size;
    for (const tag of page) if (isTag(tag)) add(tag);
    const isNew = tags.size > known;
    const next = nextPage(response.header('link'), repository, 'tags/list', response.url);
    if (next === 'astray') return listed(false);
    if (next === undefined) {
      // A page of another size is complete: a shorter one is the last, and a longer one means that paging is ignored.
      if (page.length !== PAGE_SIZE) return listed(true);
      // A page without new tags is the end only if the registry has honored `last` before.
      if (!isNew) return listed(takesLast);
    }
    takesLast ||= isGuess;
    isGuess = next === undefined;
    query = next ?? `${FIRST_PAGE}&last=${encodeURIComponent(`${page.at(-1)}`)}`;
  }
  return listed(false);
}

function parsePage(bytes: Uint8Array, { url }: HttpResponse): unknown[] {
  const body = parseJsonObject(bytes);
  // Some registries send null as the list of tags of an empty repository.
  const tags = body === undefined ? undefined : (body.tags ?? []);
  if (!Array.isArray(tags)) {
    throw new ServiceError('registry-failed', detail('tags-unreadable', { host: url.host }));
  }
  return tags;
}

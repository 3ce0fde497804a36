import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import { drain, readBody } from '../net/body.ts';
import type { HttpResponse } from '../net/http.ts';
import type { Digest } from '../oci/digest.ts';
import { parseJsonObject } from '../oci/json.ts';
import type { Repository } from '../oci/reference.ts';
import { nextPage } from './next-page.ts';
import { statusError } from './status-error.ts';

/** Asks for the list of referrers with a query such as `?last=…`, or with none. */
export type AskForReferrers = (query: string) => Promise<HttpResponse>;

const MAX_PAGES = 20;
/** Bytes of all pages. */
const LIST_LIMIT = 4 * 1024 * 1024;

/**
 * Reads the index of the referrers of a manifest, and merges its pages; undefined if the registry has no such list. A
 * single page stays unchanged, byte for byte.
 *
 * @throws ServiceError `registry-failed` if the list is endless; errors of the upstream
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
 */
export async function listReferrers(
  repository: Repository,
  digest: Digest,
  ask: AskForReferrers,
): Promise<Uint8Array | undefined> {
  const pages: Buffer[] = [];
  const asked = new Set<string>();
  let left = LIST_LIMIT;
  let query: string | undefined = '';
  while (query !== undefined) {
    asked.add(query);
    const response = await ask(query);
    if (response.status !== 200) {
      await drain(response);
      // Registries without such a list answer with various 4xx codes.
      const isUnknown = response.status >= 400 && response.status < 500 && response.status !== 429;
      if (pages.length === 0 && isUnknown) return undefined;
      throw statusError(response);
    }
    const page = await readBody(response, left);
    left -= page.length;
    pages.push(page);
    query = nextPage(response.header('link'), repository, `referrers/${digest}`, response.url);
    // A partial list counts as a failure, because it could lack the wanted signature.
    if (query !== undefined && (query === 'astray' || asked.has(query) || pages.length >= MAX_PAGES))
      throw new ServiceError(
        'registry-failed',
        detail('referrers-endless', { host: response.url.host, digest }),
      );
  }
  return merged(pages, digest);
}

function merged(pages: readonly Buffer[], digest: Digest): Uint8Array {
  const [only, ...others] = pages;
  if (only !== undefined && others.length === 0) return only;
  const bodies = pages.map((page) => parseJsonObject(page) ?? {});
  const manifests = bodies.flatMap(({ manifests: own }): unknown[] => {
    if (Array.isArray(own)) return own;
    throw new ServiceError('registry-failed', detail('referrers-unreadable', { digest }));
  });
  return new TextEncoder().encode(JSON.stringify({ ...bodies[0], manifests }));
}

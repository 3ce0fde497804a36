import { CatalogueError, type ErrorCode } from '../errors.ts';
import { createMemoryCaches, type MemoryCaches } from '../memory-caches.ts';
import { formatPlatform } from '../oci/platform.ts';
import { formatReference } from '../oci/reference.ts';
import type { TagList } from '../registry/tag-list.ts';
import { createSingleFlight } from '../single-flight.ts';
import type { ImageCatalogue, ImageDetails } from './image-catalogue.ts';

export interface BriefCatalogueOptions {
  readonly catalogue: ImageCatalogue;
  /** Milliseconds since some fixed moment. */
  readonly now: () => number;
  /** The list to which its caches are added. */
  readonly caches?: MemoryCaches;
}

/** Milliseconds: long enough for someone who types, short enough for someone who pushes. */
const TTL_MS = 30_000;
/** Bytes, enough for about a thousand images of usual size. */
const DETAILS_LIMIT = 8 * 2 ** 20;
/** Bytes, enough for ten lists of maximum length, or thousands of usual ones. */
const TAGS_LIMIT = 16 * 2 ** 20;
const SLOT_REFUSALS: ReadonlySet<ErrorCode> = new Set(['too-many-downloads', 'service-full']);

/** Remembers answers for a short time, and asks once for however many want the same at the same time. */
export function createBriefCatalogue({
  catalogue,
  now,
  caches = createMemoryCaches(now),
}: BriefCatalogueOptions): ImageCatalogue {
  const details = caches.open<ImageDetails>({ name: 'image-details', limit: DETAILS_LIMIT, ttl: TTL_MS });
  const lists = caches.open<TagList>({ name: 'tags', limit: TAGS_LIMIT, ttl: TTL_MS });
  const shareDetails = createSingleFlight<ImageDetails>();
  const shareList = createSingleFlight<TagList>();

  return {
    async describe(request, signal) {
      const { reference, platform, format } = request;
      const key = `${formatReference(reference)} ${reference.tagGiven} ${platform && formatPlatform(platform)} ${format}`;
      const known = details.get(key);
      if (known !== undefined) return known;
      let isOwn = false;
      const work = (shared: AbortSignal): Promise<ImageDetails> => {
        isOwn = true;
        return catalogue.describe(request, shared);
      };
      const found = await shareDetails(key, work, signal).catch((error: unknown) => {
        // A client that began it and may not go on does not end it for the others.
        if (isOwn || !(error instanceof CatalogueError) || !SLOT_REFUSALS.has(error.code)) throw error;
        return catalogue.describe(request, signal);
      });
      details.set(key, found);
      return found;
    },

    async tags(repository, signal) {
      const key = `${repository.domain}/${repository.path}`;
      const known = lists.get(key);
      if (known !== undefined) return known;
      const found = await shareList(key, (shared) => catalogue.tags(repository, shared), signal);
      lists.set(key, found);
      return found;
    },
  };
}

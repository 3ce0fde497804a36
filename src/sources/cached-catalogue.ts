import { formatPlatform } from '../oci/platform.ts';
import { formatReference } from '../oci/reference.ts';
import type { TagList } from '../registry/tag-list.ts';
import { isRefusedSpending } from '../registry/upstream-budget.ts';
import { createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';
import { createSingleFlight } from '../util/single-flight.ts';
import type { ImageDetails, ImageInspector } from './image-catalogue.ts';

export interface CachedInspectorOptions {
  readonly catalogue: ImageInspector;
  /** A monotonic clock, in milliseconds. */
  readonly now: () => number;
  /** The list to which its caches are added. */
  readonly caches?: MemoryCaches;
}

/** Milliseconds: long enough while a user types, short enough after a push. */
const TTL_MS = 30_000;
/** Bytes, enough for about a thousand images of usual size. */
const DETAILS_LIMIT = 8 * 2 ** 20;
/** Bytes, enough for ten lists of maximum length, or thousands of usual ones. */
const TAGS_LIMIT = 16 * 2 ** 20;

/** Caches answers for a short time, and shares one request among concurrent callers. */
export function createCachedInspector({
  catalogue,
  now,
  caches = createMemoryCaches(now),
}: CachedInspectorOptions): ImageInspector {
  const details = caches.open<ImageDetails>({ name: 'image-details', limit: DETAILS_LIMIT, ttl: TTL_MS });
  const lists = caches.open<TagList>({ name: 'tags', limit: TAGS_LIMIT, ttl: TTL_MS });
  const shareDetails = createSingleFlight<ImageDetails>(isRefusedSpending);
  const shareList = createSingleFlight<TagList>(isRefusedSpending);

  return {
    async describe(request, signal) {
      const { reference, platform, format, isFormatOpen } = request;
      const key = `${formatReference(reference)} ${reference.tagGiven} ${platform && formatPlatform(platform)} ${format} ${isFormatOpen}`;
      const known = details.get(key);
      if (known !== undefined) return known;
      const found = await shareDetails(key, (shared) => catalogue.describe(request, shared), signal);
      details.set(key, found);
      return found;
    },

    async tags(repository, signal, onCostly) {
      const key = `${repository.domain}/${repository.path}`;
      const known = lists.get(key);
      if (known !== undefined) return known;
      const found = await shareList(key, (shared) => catalogue.tags(repository, shared, onCostly), signal);
      lists.set(key, found);
      return found;
    },
  };
}

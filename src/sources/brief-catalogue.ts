import { LRUCache } from 'lru-cache';
import { formatPlatform } from '../oci/platform.ts';
import { formatReference } from '../oci/reference.ts';
import type { TagList } from '../registry/tag-list.ts';
import { createSingleFlight } from '../single-flight.ts';
import type { ImageCatalogue, ImageDetails } from './image-catalogue.ts';

export interface BriefCatalogueOptions {
  readonly catalogue: ImageCatalogue;
  /** Milliseconds since some fixed moment. */
  readonly now: () => number;
}

/** Milliseconds: long enough for someone who types, short enough for someone who pushes. */
const TTL_MS = 30_000;
const DETAILS_MAX = 500;
/** Counted in tags, about 100 bytes each. */
const TAGS_MAX = 200_000;

/** Remembers answers for a short time, and asks once for however many want the same at the same time. */
export function createBriefCatalogue({ catalogue, now }: BriefCatalogueOptions): ImageCatalogue {
  const clock = { perf: { now }, ttl: TTL_MS, ttlResolution: 0 };
  const details = new LRUCache<string, ImageDetails>({ max: DETAILS_MAX, ...clock });
  const lists = new LRUCache<string, TagList>({
    maxSize: TAGS_MAX,
    sizeCalculation: ({ tags }) => tags.length + 1,
    ...clock,
  });
  const shareDetails = createSingleFlight<ImageDetails>();
  const shareList = createSingleFlight<TagList>();

  return {
    async describe(request, signal) {
      const { reference, platform, format } = request;
      const key = `${formatReference(reference)} ${reference.tagGiven} ${platform && formatPlatform(platform)} ${format}`;
      const known = details.get(key);
      if (known !== undefined) return known;
      const found = await shareDetails(key, (shared) => catalogue.describe(request, shared), signal);
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

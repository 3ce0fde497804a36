import { similarWords } from '../util/similar-words.ts';

const MOST = 8;
/** Matches tags that tools derive from a digest for signatures and other referrers. They don't name images. */
const DERIVED = /^sha\d{3}-[0-9a-f]{64}/;

/**
 * Chooses existing tags that a user may have meant by a missing tag, the most similar first. For a missing `latest`
 * without similar tags, returns the first tags of the list, which are the newest.
 *
 * @param tags in the order for equally similar ones, the newest first
 */
export function similarTags(wanted: string, tags: readonly string[]): string[] {
  const images = tags.filter((tag) => !DERIVED.test(tag));
  const similar = similarWords(wanted, images).map(({ word }) => word);
  return (similar.length === 0 && wanted === 'latest' ? images : similar).slice(0, MOST);
}

const MOST = 8;
/** Up to 1; a tag that shares half of its characters with the wanted one is similar. */
const LEAST_SIMILARITY = 0.5;
/** Typing mistakes that are counted; more make another tag. */
const MOST_EDITS = 3;
/** Characters between the shared beginning and end in which mistakes are counted: the work grows with its square. */
const LONGEST_MIDDLE = 24;
/** Tags that tools derive from a digest, for signatures and other referrers: these name no image. */
const DERIVED = /^sha\d{3}-[0-9a-f]{64}/;

/**
 * Chooses the tags that someone may have meant by a tag that does not exist, the most similar first. `latest` means the
 * newest, so that the first of the list stand for it where nothing is written like it.
 *
 * Takes time proportional to the characters of all tags, a fraction of a second for 20,000 tags of 128 characters.
 *
 * @param tags in the order in which equally similar ones are offered
 */
export function similarTags(wanted: string, tags: readonly string[]): string[] {
  const images = tags.filter((tag) => !DERIVED.test(tag));
  const lower = wanted.toLowerCase();
  const similar = images
    .map((tag) => ({ tag, similarity: similarityOf(lower, tag.toLowerCase()) }))
    .filter(({ similarity }) => similarity >= LEAST_SIMILARITY)
    .sort((one, other) => other.similarity - one.similarity)
    .map(({ tag }) => tag);
  return (similar.length === 0 && wanted === 'latest' ? images : similar).slice(0, MOST);
}

/** 1 for equal texts, 0 for texts that share neither beginning nor end. */
function similarityOf(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  let start = 0;
  while (start < shorter && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < shorter - start && a.at(-1 - end) === b.at(-1 - end)) end += 1;
  const shared = (2 * (start + end)) / (a.length + b.length);
  const edits = countEdits(a.slice(start, a.length - end), b.slice(start, b.length - end));
  return edits > MOST_EDITS ? shared : Math.max(shared, 1 - edits / Math.max(a.length, b.length));
}

/**
 * Counts insertions, deletions, replacements and swaps of neighbours between two texts, up to one more than
 * {@link MOST_EDITS}: only that near the diagonal of the usual table can be less.
 *
 * @see https://en.wikipedia.org/wiki/Damerau%E2%80%93Levenshtein_distance#Optimal_string_alignment_distance
 */
function countEdits(a: string, b: string): number {
  const tooMany = MOST_EDITS + 1;
  if (Math.abs(a.length - b.length) > MOST_EDITS || a.length > LONGEST_MIDDLE) return tooMany;
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let row = 1; row <= a.length; row++) {
    const current = new Array<number>(b.length + 1).fill(tooMany);
    const from = Math.max(0, row - MOST_EDITS);
    const to = Math.min(b.length, row + MOST_EDITS);
    let least = tooMany;
    for (let at = from; at <= to; at++) {
      const isSwap = at > 1 && row > 1 && a[row - 1] === b[at - 2] && a[row - 2] === b[at - 1];
      const edits =
        at === 0
          ? row
          : Math.min(
              (last[at] ?? tooMany) + 1,
              (current[at - 1] ?? tooMany) + 1,
              (last[at - 1] ?? tooMany) + Number(a[row - 1] !== b[at - 1]),
              isSwap ? (before[at - 2] ?? tooMany) + 1 : tooMany,
            );
      current[at] = Math.min(edits, tooMany);
      least = Math.min(least, edits);
    }
    if (least >= tooMany) return tooMany;
    before = last;
    last = current;
  }
  return last[b.length] ?? tooMany;
}

/** Minimum similarity, from 0 to 1. At 0.5, half of the characters are the same. */
const LEAST_SIMILARITY = 0.5;
/** Maximum number of typing mistakes; with more, it is another word. */
const MOST_EDITS = 3;
/**
 * Maximum characters between the shared start and end in which mistakes are counted, as the work grows quadratically.
 */
const LONGEST_MIDDLE = 24;
/** Maximum number of words in which mistakes are counted: those that share most characters at both ends. */
const MOST_COUNTED = 1000;

/** A word, and how similar it is to the wanted one: 1 for equal words. */
export interface SimilarWord {
  readonly word: string;
  readonly similarity: number;
}

/**
 * Chooses the words that a user may have meant by another one, the most similar first. Upper and lower case are equal.
 *
 * Takes time in proportion to the characters of all words: some 20 ms for 20,000 words.
 *
 * @param words in the order for equally similar ones
 */
export function similarWords(wanted: string, words: readonly string[]): SimilarWord[] {
  const lower = wanted.toLowerCase();
  const candidates = words.map((word) => candidateOf(lower, word));
  const closest = candidates.toSorted((one, other) => other.shared - one.shared).slice(0, MOST_COUNTED);
  for (const candidate of closest) {
    candidate.similarity = Math.max(candidate.shared, similarityByEdits(lower, candidate));
  }
  return candidates
    .filter(({ similarity }) => similarity >= LEAST_SIMILARITY)
    .sort((one, other) => other.similarity - one.similarity);
}

/** Maximum number of words in a suggestion, and how much less similar than the first the others may be. */
const MOST_SUGGESTED = 3;
const SUGGESTED_SPREAD = 0.1;

/**
 * Returns a sentence for a misspelled name, with a space before it: ` Did you mean --port?`; empty if no name is similar.
 *
 * @param prefix the common prefix of all names, which the arguments omit. Comparing it would make all names similar.
 */
export function didYouMean(wanted: string, names: readonly string[], prefix = ''): string {
  const similar = similarWords(wanted, names);
  const least = (similar[0]?.similarity ?? 0) - SUGGESTED_SPREAD;
  const [first, ...others] = similar
    .filter(({ similarity }) => similarity >= least)
    .slice(0, MOST_SUGGESTED)
    .map(({ word }) => `${prefix}${word}`);
  return first === undefined ? '' : ` Did you mean ${[first, ...others].join(' or ')}?`;
}

interface Candidate {
  readonly word: string;
  readonly lower: string;
  /** Number of characters that both texts share at the start and end. */
  readonly start: number;
  readonly end: number;
  /** The share of these characters: 1 for equal texts, 0 if they share neither start nor end. */
  readonly shared: number;
  similarity: number;
}

function candidateOf(wanted: string, word: string): Candidate {
  const lower = word.toLowerCase();
  const shorter = Math.min(wanted.length, lower.length);
  let start = 0;
  while (start < shorter && wanted[start] === lower[start]) start += 1;
  let end = 0;
  while (end < shorter - start && wanted.at(-1 - end) === lower.at(-1 - end)) end += 1;
  const shared = (2 * (start + end)) / (wanted.length + lower.length);
  return { word, lower, start, end, shared, similarity: shared };
}

/** Returns the share of characters without typing mistakes; 0 with too many mistakes. */
function similarityByEdits(wanted: string, { lower, start, end }: Candidate): number {
  const edits = countEdits(wanted.slice(start, wanted.length - end), lower.slice(start, lower.length - end));
  return edits > MOST_EDITS ? 0 : 1 - edits / Math.max(wanted.length, lower.length);
}

/**
 * Counts insertions, deletions, replacements, and swaps of neighbors between two texts, up to one more than
 * {@link MOST_EDITS}. Only cells near the diagonal of the table can be within that limit, so only these are computed.
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

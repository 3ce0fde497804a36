/**
 * Orders tags as people look for them: `latest`, then versions from the newest down, then snapshots by date, then
 * names. A version comes before its variants (`1.27-alpine`), these before its pre-releases (`1.27-rc1`). Shorter
 * versions move with new releases, so that `1.27` stands before `1.27.3`.
 *
 * @returns a negative number where `a` comes first; 0 for equal tags alone
 */
export function compareTags(a: string, b: string): number {
  return compareKeys(sortKey(a), sortKey(b));
}

/** Sorts tags by {@link compareTags}. Each tag is parsed once, because a repository may have tens of thousands. */
export function sortTags(tags: Iterable<string>): string[] {
  return Array.from(tags, (tag) => ({ tag, key: sortKey(tag) }))
    .sort((one, other) => compareKeys(one.key, other.key))
    .map(({ tag }) => tag);
}

/**
 * Finds the index of the first tag that sorts after another tag, which need not be in the list. Uses a binary search.
 *
 * @param sorted in the order of {@link compareTags}
 * @returns the length of the list if no tag sorts after it
 */
export function indexAfter(sorted: readonly string[], tag: string): number {
  const key = sortKey(tag);
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (compareKeys(sortKey(sorted[middle] ?? ''), key) > 0) to = middle;
    else from = middle + 1;
  }
  return from;
}

function compareKeys(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

/** The kinds of tags in their order. */
const LATEST = 0;
const VERSION = 1;
const DATE = 2;
const NAME = 3;

/** The rank of a release stage: a release sorts before the pre-releases of the same version, and later stages first. */
const RELEASE = 0;
const STAGES: readonly (readonly string[])[] = [
  [],
  ['rc', 'cr', 'c'],
  ['beta', 'b', 'm', 'milestone'],
  ['alpha', 'a', 'ea'],
  ['pre', 'preview', 'next', 'canary', 'nightly', 'snapshot', 'dev', 'unstable'],
];

/** Matches `1.27`, `v1.27.3-alpine`, `3.13.0rc1`; not a commit such as `1a2b3c4`. */
const VERSIONED = /^v?(\d+(?:[._]\d+)*)((?:(?:rc|beta|alpha|a|b|m)\d*)?(?:[-._+].*)?)$/i;

/** Characters of keys that sort before and after all others. */
const [FIRST, LAST] = ['\x01', '\xff'] as const;
/** Prefixes of words and numbers in a key, so that words sort first. */
const [WORD, NUMBER] = ['\x02', '\x03'] as const;
/** Maximum number of parts that are compared as words and numbers; the rest is compared by characters. */
const MOST_PARTS = 16;
const MOST_DIGITS = 128;
const [ZERO, NINE] = [0x30, 0x39] as const;

/**
 * Creates the sort key of a tag. Plain comparison of these strings gives the expected order. It is far cheaper than
 * comparing parsed tags, which a sort does about ten times for each tag.
 */
function sortKey(tag: string): string {
  if (tag === 'latest') return `${LATEST}${FIRST}`;
  const [, version, rest = ''] = VERSIONED.exec(tag) ?? [];
  if (version === undefined) return `${NAME}${textKey(tag)}${tag}`;
  const numbers = version.split(/[._]/, MOST_PARTS);
  const [, word = ''] = /^[-._+]?([a-z]+)/i.exec(rest) ?? [];
  const stage = Math.max(
    STAGES.findIndex((words) => words.includes(word.toLowerCase())),
    RELEASE,
  );
  const kind = withoutZeros(numbers[0] ?? '').length >= 8 ? DATE : VERSION;
  return `${kind}${versionKey(numbers, stage)}${stage}${textKey(rest)}${tag}`;
}

/**
 * Sorts higher versions first. A release with fewer numbers covers all versions that begin with them, so it sorts
 * before these. A pre-release belongs to the first such version, so its trailing zeros make no difference.
 */
function versionKey(numbers: readonly string[], stage: number): string {
  if (stage === RELEASE) return `${numbers.map(numberKey).join('')}${FIRST}`;
  const length = numbers.findLastIndex((digits) => /[1-9]/.test(digits)) + 1;
  return `${numbers.slice(0, length).map(numberKey).join('')}${LAST}`;
}

/** Words in the order of the alphabet, the numbers between them from the highest down; the shorter text first. */
function textKey(text: string): string {
  let key = '';
  let left = MOST_PARTS;
  for (const [part] of text.toLowerCase().matchAll(/\d+|\D+/g)) {
    if (left-- === 0) break;
    key += isDigit(part.charCodeAt(0)) ? `${NUMBER}${numberKey(part)}` : `${WORD}${part}${FIRST}`;
  }
  return `${key}${FIRST}`;
}

/**
 * Returns a key that sorts the highest number first: by the number of digits, then by the digits. Creates one flat string,
 * because a string that grows by characters takes ten times as long to compare.
 */
function numberKey(text: string): string {
  const digits = withoutZeros(text);
  const length = Math.min(digits.length, MOST_DIGITS);
  const codes = [LAST.charCodeAt(0) - 1 - length];
  for (let at = 0; at < length; at++) codes.push(ZERO + NINE - digits.charCodeAt(at));
  return String.fromCharCode(...codes);
}

function withoutZeros(digits: string): string {
  return digits.startsWith('0') ? digits.replace(/^0+(?=\d)/, '') : digits;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}

/**
 * Orders tags as people look for them: `latest`, then versions from the newest down, then snapshots by date, then names.
 * A version comes before its variants (`1.27-alpine`), these before its pre-releases (`1.27-rc1`). What a tag leaves
 * open moves with new releases, so that `1.27` stands before `1.27.3`.
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
 * Finds the place of the first tag that comes after another one, which the list need not have. Compares with a few
 * tags of the list alone.
 *
 * @param sorted in the order of {@link compareTags}
 * @returns the length of the list where no tag comes after
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

/** What kinds of tags there are, in their order. */
const LATEST = 0;
const VERSION = 1;
const DATE = 2;
const NAME = 3;

/** How final a version is: a release before the pre-releases of the same version, the latest of these first. */
const RELEASE = 0;
const STAGES: readonly (readonly string[])[] = [
  [],
  ['rc', 'cr', 'c'],
  ['beta', 'b', 'm', 'milestone'],
  ['alpha', 'a', 'ea'],
  ['pre', 'preview', 'next', 'canary', 'nightly', 'snapshot', 'dev', 'unstable'],
];

/** `1.27`, `v1.27.3-alpine`, `3.13.0rc1`; a commit such as `1a2b3c4` is none. */
const VERSIONED = /^v?(\d+(?:[._]\d+)*)((?:(?:rc|beta|alpha|a|b|m)\d*)?(?:[-._+].*)?)$/i;

/** Characters of keys that stand before and behind every other one. */
const [FIRST, LAST] = ['\x01', '\xff'] as const;
/** What begins a word and a number in a key: words come first. */
const [WORD, NUMBER] = ['\x02', '\x03'] as const;
/** Numbers of a version, and words and numbers of a text, that decide; behind them, characters do. */
const MOST_PARTS = 16;
const MOST_DIGITS = 128;
const [ZERO, NINE] = [0x30, 0x39] as const;

/**
 * Makes the text by which a tag is sorted: its characters, compared one by one, decide as people do. A comparison of
 * two texts is far cheaper than one of parsed tags, and a sort makes some ten of them a tag.
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
 * The higher version first. A release leaves open what it does not say, so that it stands before all that do; a
 * pre-release is of the first such version, so that zeros at its end make no difference.
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

/** The highest number first, of any length: the one with more digits, then the one with higher digits. */
function numberKey(text: string): string {
  const digits = withoutZeros(text);
  let key = String.fromCharCode(LAST.charCodeAt(0) - 1 - Math.min(digits.length, MOST_DIGITS));
  for (let at = 0; at < digits.length; at++) key += String.fromCharCode(ZERO + NINE - digits.charCodeAt(at));
  return key;
}

function withoutZeros(digits: string): string {
  return digits.startsWith('0') ? digits.replace(/^0+(?=\d)/, '') : digits;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}

/**
 * Orders tags as people look for them: `latest`, then versions from the newest down, then snapshots by date, then names.
 * A version comes before its variants (`1.27-alpine`), these before its pre-releases (`1.27-rc1`). What a tag leaves
 * open moves with new releases, so that `1.27` stands before `1.27.3`.
 *
 * @returns a negative number where `a` comes first; 0 for equal tags alone
 */
export function compareTags(a: string, b: string): number {
  return compareParsed(parseTag(a), parseTag(b));
}

/** Sorts tags by {@link compareTags}. Each tag is parsed once, because a repository may have tens of thousands. */
export function sortTags(tags: Iterable<string>): string[] {
  return Array.from(tags, parseTag)
    .sort(compareParsed)
    .map(({ tag }) => tag);
}

function compareParsed(one: ParsedTag, other: ParsedTag): number {
  return (
    one.kind - other.kind ||
    compareVersions(one, other) ||
    one.stage - other.stage ||
    compareTexts(one.parts, other.parts) ||
    (one.tag < other.tag ? -1 : Number(one.tag > other.tag))
  );
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

interface ParsedTag {
  readonly tag: string;
  readonly kind: number;
  readonly numbers: readonly string[];
  readonly stage: number;
  /** Words and numbers behind the version, or of the whole name, in lower case. */
  readonly parts: readonly string[];
}

function parseTag(tag: string): ParsedTag {
  if (tag === 'latest') return { tag, kind: LATEST, numbers: [], stage: RELEASE, parts: [] };
  const [, version, rest = ''] = VERSIONED.exec(tag) ?? [];
  if (version === undefined) return { tag, kind: NAME, numbers: [], stage: RELEASE, parts: partsOf(tag) };
  const numbers = version.split(/[._]/).map((digits) => digits.replace(/^0+(?=\d)/, ''));
  const [, word = ''] = /^[-._+]?([a-z]+)/i.exec(rest) ?? [];
  const stage = Math.max(
    STAGES.findIndex((words) => words.includes(word.toLowerCase())),
    RELEASE,
  );
  const kind = (numbers[0] ?? '').length >= 8 ? DATE : VERSION;
  return { tag, kind, numbers, stage, parts: partsOf(rest) };
}

/** The higher version first. A release leaves open what it does not say; a pre-release is of the first such version. */
function compareVersions(a: ParsedTag, b: ParsedTag): number {
  const length = Math.max(a.numbers.length, b.numbers.length);
  for (let at = 0; at < length; at++) {
    const difference = compareNumbers(numberAt(b, at), numberAt(a, at));
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Undefined stands above every number. */
function numberAt({ numbers, stage }: ParsedTag, at: number): string | undefined {
  return numbers[at] ?? (stage === RELEASE ? undefined : '0');
}

/** Compares digits without leading zeros, of any length. */
function compareNumbers(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  return a.length - b.length || (a < b ? -1 : Number(a > b));
}

/** Words in the order of the alphabet, the numbers between them from the highest down; the shorter text first. */
function compareTexts(one: readonly string[], other: readonly string[]): number {
  for (const [at, part] of one.entries()) {
    const opposite = other[at];
    if (opposite === undefined) return 1;
    const difference = compareParts(part, opposite);
    if (difference !== 0) return difference;
  }
  return one.length - other.length;
}

function compareParts(a: string, b: string): number {
  if (a === b) return 0;
  const [isNumber, isOtherNumber] = [/^\d/.test(a), /^\d/.test(b)];
  if (isNumber && isOtherNumber)
    return compareNumbers(b.replace(/^0+(?=\d)/, ''), a.replace(/^0+(?=\d)/, ''));
  if (isNumber !== isOtherNumber) return isNumber ? 1 : -1;
  return a < b ? -1 : Number(a > b);
}

function partsOf(text: string): readonly string[] {
  return text.toLowerCase().match(/\d+|\D+/g) ?? [];
}

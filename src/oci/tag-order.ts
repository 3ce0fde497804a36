/**
 * Orders tags as people look for them: `latest`, then versions from the newest down, then snapshots by date, then names.
 * A version comes before its variants (`1.27-alpine`), these before its pre-releases (`1.27-rc1`). What a tag leaves
 * open moves with new releases, so that `1.27` stands before `1.27.3`.
 *
 * @returns a negative number where `a` comes first; 0 for equal tags alone
 */
export function compareTags(a: string, b: string): number {
  const [one, other] = [parseTag(a), parseTag(b)];
  return (
    one.kind - other.kind ||
    compareVersions(one, other) ||
    one.stage - other.stage ||
    compareTexts(one.rest, other.rest) ||
    (a < b ? -1 : Number(a > b))
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
  readonly kind: number;
  readonly numbers: readonly string[];
  readonly stage: number;
  /** What stands behind the version, or the whole name. */
  readonly rest: string;
}

function parseTag(tag: string): ParsedTag {
  if (tag === 'latest') return { kind: LATEST, numbers: [], stage: RELEASE, rest: '' };
  const [, version, rest = ''] = VERSIONED.exec(tag) ?? [];
  if (version === undefined) return { kind: NAME, numbers: [], stage: RELEASE, rest: tag };
  const numbers = version.split(/[._]/).map((digits) => digits.replace(/^0+(?=\d)/, ''));
  const [, word = ''] = /^[-._+]?([a-z]+)/i.exec(rest) ?? [];
  const stage = Math.max(
    STAGES.findIndex((words) => words.includes(word.toLowerCase())),
    RELEASE,
  );
  return { kind: (numbers[0] ?? '').length >= 8 ? DATE : VERSION, numbers, stage, rest };
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
function compareTexts(a: string, b: string): number {
  const one = partsOf(a);
  const other = partsOf(b);
  for (const [at, part] of one.entries()) {
    const opposite = other[at];
    if (opposite === undefined) return 1;
    const difference = compareParts(part, opposite);
    if (difference !== 0) return difference;
  }
  return one.length - other.length;
}

function compareParts(a: string, b: string): number {
  const [isNumber, isOtherNumber] = [/^\d/.test(a), /^\d/.test(b)];
  if (isNumber && isOtherNumber)
    return compareNumbers(b.replace(/^0+(?=\d)/, ''), a.replace(/^0+(?=\d)/, ''));
  if (isNumber !== isOtherNumber) return isNumber ? 1 : -1;
  return a < b ? -1 : Number(a > b);
}

function partsOf(text: string): readonly string[] {
  return text.toLowerCase().match(/\d+|\D+/g) ?? [];
}

/** One segment of a glob, between two slashes. */
export type GlobSegment =
  /** Any number of segments: `**`. */
  | { readonly kind: 'any' }
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'wild'; readonly matcher: RegExp };

/** Maximum alternatives of one glob. */
const MOST_ALTERNATIVES = 1000;
/** Stars, a question mark, a set of characters in one of its plain forms, or any other character. */
const TOKEN = /\*+|\?|\[(?:[!^]?(?:[\w.:](?:-[\w.:])?)+|\[)\]|[^*?[]/g;

/**
 * Parses a glob, once for all names, into the segments of each of its alternatives: `{a,b}/*` has two.
 *
 * @returns undefined for a glob that contains more than `*`, `**`, `?`, `[…]` and `{…,…}`, such as `+(a|b)` or `{1..9}`
 */
export function parseGlob(glob: string): readonly (readonly GlobSegment[])[] | undefined {
  if (/[(\\]/.test(glob)) return undefined;
  const alternatives = alternativesOf(glob)?.map(segmentsOf);
  return alternatives?.every((segments) => segments !== undefined) ? alternatives : undefined;
}

/** Returns the globs that result from braces: `a/{b,c}` becomes `a/b` and `a/c`. Undefined if they are invalid or too many. */
function alternativesOf(glob: string): string[] | undefined {
  let all = [glob];
  while (all.some((text) => /[{}]/.test(text))) {
    const expanded = all.map(expandOnce);
    if (!expanded.every((texts) => texts !== undefined)) return undefined;
    all = [...new Set(expanded.flat())];
    if (all.length > MOST_ALTERNATIVES) return undefined;
  }
  return all;
}

function expandOnce(text: string): string[] | undefined {
  const [group, inside] = /\{([^{}]*)\}/.exec(text) ?? [];
  if (group === undefined || inside === undefined) return /[{}]/.test(text) ? undefined : [text];
  if (!inside.includes(',') || inside.includes('..')) return undefined;
  const at = text.indexOf(group);
  return inside.split(',').map((one) => text.slice(0, at) + one + text.slice(at + group.length));
}

function segmentsOf(path: string): GlobSegment[] | undefined {
  const segments = path.split(/\/+/).map(segmentOf);
  return segments.every((segment) => segment !== undefined) ? segments : undefined;
}

function segmentOf(text: string): GlobSegment | undefined {
  if (text === '**') return { kind: 'any' };
  const tokens = text.match(TOKEN) ?? [];
  if (tokens.join('') !== text || text === '.' || text === '..') return undefined;
  const literals = tokens.map((token) => (token === '[[]' ? '[' : token));
  if (literals.every((sign) => sign.length === 1 && !/[*?]/.test(sign)))
    return { kind: 'literal', text: literals.join('') };
  if (tokens.some(isReversed)) return undefined;
  return { kind: 'wild', matcher: matcherOf(tokens) };
}

/** A range whose end comes before its start. */
function isReversed(token: string): boolean {
  return [...token.matchAll(/(.)-(.)/g)].some(([, from = '', to = '']) => from > to);
}

/**
 * Each text between two stars is searched from the left, and the first match is final: with a fixed length, no later
 * match is better. A regular expression that tries all of them takes minutes over `*a*a*a*a*a*b`.
 */
function matcherOf(tokens: readonly string[]): RegExp {
  const pieces = [''];
  for (const token of tokens) {
    if (token.startsWith('*')) pieces.push('');
    else pieces.push((pieces.pop() ?? '') + sourceOf(token));
  }
  const [first = '', ...later] = pieces;
  const last = later.pop();
  // A regular expression never backtracks into a lookahead. The back reference then consumes the matched text.
  const between = later.map((piece, at) => `(?=(.*?${piece}))\\${at + 1}`).join('');
  return new RegExp(`^${first}${between}${last === undefined ? '' : `.*${last}`}$`);
}

function sourceOf(token: string): string {
  if (token === '?') return '.';
  if (token.length === 1) return token.replace(/\W/, '\\$&');
  return token === '[[]' ? '\\[' : token.replace(/^\[!/, '[^');
}

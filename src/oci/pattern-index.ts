import { posix } from 'node:path';
import { type GlobSegment, parseGlob } from './glob.ts';
import { canonicalName, type NamePattern } from './name-pattern.ts';
import type { Repository } from './reference.ts';

/**
 * Finds the first pattern that matches a repository, in any spelling of its registry; undefined without a match. It
 * searches segment by segment, so that ten thousand patterns cost about as much as one. The exception is patterns that
 * begin alike and continue with a `*` within a segment.
 */
export type FindPattern = (repository: Repository) => number | undefined;

/** The node of patterns with the same beginning. */
interface Node {
  readonly literal: Map<string, Node>;
  /** The nodes after segments with wildcards, by the source of the segment, because many patterns may share it. */
  readonly wild: Map<string, { readonly matcher: RegExp; readonly node: Node }>;
  /** The node after `**`. */
  any: Node | undefined;
  /** The first pattern that ends here. */
  first: number | undefined;
}

/** Builds an index of a list of patterns. A match is a position in the list. */
export function indexPatterns(patterns: readonly NamePattern[]): FindPattern {
  const root = emptyNode();
  const others: { readonly glob: string; readonly place: number }[] = [];
  for (const [place, { glob }] of patterns.entries()) {
    const alternatives = parseGlob(glob);
    if (alternatives === undefined) others.push({ glob, place });
    else for (const segments of alternatives) insert(root, segments, place);
  }
  return (repository) => {
    const name = canonicalName(repository);
    const found = lookUp(root, name.split('/'));
    // Node's matcher reads the rest of its syntax, such as +(a|b) and {1..9}. Lists rarely contain it, and the matcher
    // parses the pattern for each name, so that 10,000 of them take 0.5 s.
    const other = others.find(({ glob }) => posix.matchesGlob(name, glob))?.place;
    return earlier(found, other);
  };
}

function insert(root: Node, segments: readonly GlobSegment[], place: number): void {
  let node = root;
  for (const [at, segment] of segments.entries()) {
    // Two consecutive `**` mean the same as one.
    if (segment.kind === 'any' && segments[at - 1]?.kind === 'any') continue;
    node = childFor(node, segment);
  }
  node.first ??= place;
}

function childFor(node: Node, segment: GlobSegment): Node {
  if (segment.kind === 'any') {
    node.any ??= emptyNode();
    return node.any;
  }
  if (segment.kind === 'literal') {
    const child = node.literal.get(segment.text) ?? emptyNode();
    node.literal.set(segment.text, child);
    return child;
  }
  const { matcher } = segment;
  const known = node.wild.get(matcher.source) ?? { matcher, node: emptyNode() };
  node.wild.set(matcher.source, known);
  return known.node;
}

/** Follows all branches at once, so that each segment is compared only once. */
function lookUp(root: Node, segments: readonly string[]): number | undefined {
  let first: number | undefined;
  let exact = new Set([root]);
  /** The nodes after a `**`, which any segment may follow. */
  const open = new Set<Node>();
  for (const segment of segments) {
    for (const { any } of exact) if (any !== undefined) open.add(any);
    // A pattern that ends with `**` matches at least this segment.
    for (const node of open) first = earlier(first, node.first);
    const next = new Set<Node>();
    for (const { literal, wild } of [...exact, ...open]) {
      const child = literal.get(segment);
      if (child !== undefined) next.add(child);
      for (const { matcher, node } of wild.values()) if (matcher.test(segment)) next.add(node);
    }
    exact = next;
  }
  for (const node of exact) first = earlier(first, node.first);
  return first;
}

function earlier(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return Math.min(one, other);
}

function emptyNode(): Node {
  return { literal: new Map(), wild: new Map(), any: undefined, first: undefined };
}

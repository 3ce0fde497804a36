import { type Repository, referenceOrNone } from './reference.ts';

declare const brand: unique symbol;

/** A glob over repositories, which only {@link parseNamePattern} makes. */
export interface NamePattern {
  readonly [brand]: 'NamePattern';
  /** The glob, which matches names as {@link canonicalName} writes them. */
  readonly glob: string;
  /** The registry that it names; undefined if a wildcard matches the registry. */
  readonly domain: string | undefined;
}

const RULE = 'must be a glob over registry/repository, such as docker.io/library/* or ghcr.io/**';
const WILDCARD = /[*?[\]{}()!@+]/;

/**
 * Parses a pattern such as `docker.io/library/*` or `ghcr.io/**`: `*` stands for a part of a segment, `**` for any
 * number of segments. It is read like an image name: `docker.io/busybox`, `docker.io/busy*`, and `library/busy*` match
 * Docker's own images, all of which are in `docker.io/library`.
 *
 * @throws Error with a message that ends the sentence "The value …"
 */
export function parseNamePattern(text: string): NamePattern {
  if (text === '**') return pattern(text, undefined);
  if (!text.includes('/')) throw new Error(RULE);
  if (!WILDCARD.test(text.replace(/^\[[^\]]*\]/, ''))) {
    const image = referenceOrNone(text);
    if (image === undefined || image.tagGiven || image.digest !== undefined) throw new Error(RULE);
    return pattern(literal(canonicalName(image)), image.domain);
  }
  const [host = '', ...segments] = text.split('/');
  const path = segments.join('/').toLowerCase();
  const inRegistry = referenceOrNone(`${host}/x`);
  if (inRegistry?.path === 'x')
    return pattern(`${literal(canonicalHost(inRegistry))}/${path}`, inRegistry.domain);
  if (inRegistry?.path === 'library/x') {
    const inHub = host === 'library' ? `library/${path}` : hubPath(path);
    return pattern(`${canonicalHost(inRegistry)}/${inHub}`, inRegistry.domain);
  }
  if (!WILDCARD.test(host)) throw new Error(RULE);
  return pattern(`${host.toLowerCase().replace(/:443$/, '')}/${path}`, undefined);
}

/** Expands paths without a slash as Docker Hub does, also in alternatives such as `{nginx,grafana/*}`. */
function hubPath(path: string): string {
  const [, alternatives] = /^\{([^{}]*)\}$/.exec(path) ?? [];
  if (alternatives !== undefined) return `{${alternatives.split(',').map(hubPath).join()}}`;
  return path.includes('/') || path === '**' ? path : `library/${path}`;
}

/** Returns the registry that all patterns name; undefined if they name several, or if a wildcard stands for one. */
export function onlyRegistry(patterns: readonly NamePattern[]): string | undefined {
  const [only, ...others] = new Set(patterns.map(({ domain }) => domain));
  return others.length === 0 ? only : undefined;
}

/** Returns the normal form of all names of a repository, which globs match. */
export function canonicalName(repository: Repository): string {
  return `${canonicalHost(repository)}/${repository.path}`;
}

/**
 * The URL parser normalizes every notation of a host: case, IP addresses, and ports with leading zeros or default
 * ports.
 */
function canonicalHost({ domain }: Repository): string {
  return new URL(`https://${domain}`).host;
}

/** A glob would read the brackets of an IPv6 address as a set of characters. */
function literal(name: string): string {
  return name.replaceAll('[', '[[]');
}

function pattern(glob: string, domain: string | undefined): NamePattern {
  return { glob, domain } as NamePattern;
}

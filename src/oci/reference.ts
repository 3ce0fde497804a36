import { isIPv6 } from 'node:net';
import { type DetailId, detail } from '../errors/details.ts';
import { quote, ServiceError } from '../errors.ts';
import { type Digest, parseDigest } from './digest.ts';

declare const brand: unique symbol;

/** A repository of a registry. */
export interface Repository {
  /** The registry as named, with its port if given: `docker.io`, `localhost:5000`. */
  readonly domain: string;
  /** The repository within the registry: `library/busybox`. */
  readonly path: string;
  /** If `domain` is a mirror, the registry whose images it has. Undefined for any other domain. */
  readonly namespace?: string;
}

/** An image reference in its normal form, which only {@link parseReference} makes. */
export interface Reference extends Repository {
  readonly [brand]: 'Reference';
  /** `domain/path`: what allowlists match. */
  readonly name: string;
  /** The given tag, or `latest` without a tag and a digest. */
  readonly tag: string | undefined;
  /** True if the tag was written by the user. */
  readonly tagGiven: boolean;
  /** The digest, which takes precedence over the tag. */
  readonly digest: Digest | undefined;
}

const DEFAULT_DOMAIN = 'docker.io';
const DOCKER_HUB_NAMES = new Set([
  DEFAULT_DOMAIN,
  'index.docker.io',
  'registry-1.docker.io',
  'registry.hub.docker.com',
]);
const NAME_MAX = 255;

// https://github.com/distribution/reference/blob/main/regexp.go, part by part.
const label = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const host = `(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]+\\])`;
const component = '[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*';
const DOMAIN = new RegExp(`^(${host})(?::([0-9]+))?$`);
const PATH = new RegExp(`^${component}(?:/${component})*$`);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

type ReferenceFault = Extract<DetailId, `reference-${string}`>;

/**
 * Parses a text by the grammar of distribution/reference and normalizes it: `busybox` means
 * `docker.io/library/busybox:latest`.
 *
 * @throws ServiceError `reference-invalid`, which names the invalid part and the rule
 * @see https://github.com/distribution/reference
 */
export function parseReference(text: string): Reference {
  const refuse = (id: ReferenceFault, reason: string): never => {
    throw new ServiceError('reference-invalid', detail(id, { text: quote(text), limit: NAME_MAX }), {
      reason,
    });
  };

  if (text === '') refuse('reference-empty', 'Empty image reference');
  if (text.includes('://')) refuse('reference-scheme', 'Invalid image reference');
  if (/^[a-f0-9]{64}$/.test(text)) {
    refuse('reference-id', 'Image ID instead of a reference');
  }

  const { rest, digest: digestText } = splitDigestOff(text);
  const digest = digestText === undefined ? undefined : parseDigest(digestText);
  const { rest: nameText, tag: tagText } = splitTagOff(rest);
  if (tagText !== undefined && !isTag(tagText)) {
    refuse('reference-tag', 'Invalid tag');
  }

  const { domain, path } = splitDomainOff(nameText);
  if (!isDomain(domain)) {
    refuse('reference-registry', 'Invalid registry');
  }
  if (path !== path.toLowerCase()) refuse('reference-uppercase', 'Repository must be lowercase');
  if (!PATH.test(path)) {
    refuse('reference-repository', 'Invalid repository');
  }
  const name = `${domain}/${path}`;
  if (name.length > NAME_MAX) {
    refuse('reference-long', 'Repository name too long');
  }

  const tag = tagText ?? (digest === undefined ? 'latest' : undefined);
  return Object.freeze({ domain, path, name, tag, tagGiven: tagText !== undefined, digest }) as Reference;
}

/** Parses a text that may not be a reference; undefined if it is not. */
export function referenceOrNone(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch (error) {
    if (error instanceof ServiceError) return undefined;
    throw error;
  }
}

/** Tells whether a value is a tag by the grammar. */
export function isTag(value: unknown): value is string {
  return typeof value === 'string' && TAG.test(value);
}

/** Replaces the tag or the digest of a reference by another tag. */
export function tagReference(reference: Reference, tag: string): Reference {
  return Object.freeze({ ...reference, tag, tagGiven: true, digest: undefined });
}

/** Replaces the tag of a reference by a digest. */
export function digestReference(reference: Reference, digest: Digest): Reference {
  return Object.freeze({ ...reference, tag: undefined, tagGiven: false, digest });
}

/** Writes a reference in full: `docker.io/library/busybox:latest`. */
export function formatReference({ name, tag, digest }: Reference): string {
  return name + (tag === undefined ? '' : `:${tag}`) + (digest === undefined ? '' : `@${digest}`);
}

/**
 * Returns the short name of a repository: `busybox` for `docker.io/library/busybox`. Other registries stay in the name.
 */
export function familiarName({ domain, path }: Repository): string {
  if (domain !== DEFAULT_DOMAIN) return `${domain}/${path}`;
  return /^library\/[^/]+$/.test(path) ? path.slice('library/'.length) : path;
}

/** Writes a reference as people do: `busybox`, `busybox:1.36`, `ghcr.io/org/app@sha256:…`. */
export function familiarReference(reference: Reference): string {
  const { tag, tagGiven, digest } = reference;
  return familiarName(reference) + (tagGiven ? `:${tag}` : '') + (digest === undefined ? '' : `@${digest}`);
}

/** Returns the short name of the image in an archive, always with a tag: `busybox:latest`. */
export function taggedName(reference: Reference): string {
  return familiarName(reference) + (reference.tag === undefined ? '' : `:${reference.tag}`);
}

function splitDigestOff(text: string): { rest: string; digest: string | undefined } {
  const at = text.indexOf('@');
  if (at === -1) return { rest: text, digest: undefined };
  return { rest: text.slice(0, at), digest: text.slice(at + 1) };
}

function splitTagOff(text: string): { rest: string; tag: string | undefined } {
  const colon = text.indexOf(':', text.lastIndexOf('/') + 1);
  if (colon === -1) return { rest: text, tag: undefined };
  return { rest: text.slice(0, colon), tag: text.slice(colon + 1) };
}

// https://github.com/distribution/reference/blob/main/normalize.go (splitDockerDomain)
function splitDomainOff(name: string): { domain: string; path: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const hasDomain = /[.:A-Z]/.test(first) || first === 'localhost';
  const given = hasDomain ? first : DEFAULT_DOMAIN;
  // DNS ignores case. Without a dot or a port, only an uppercase letter marks a domain, so it stays.
  const lower = /[.:]/.test(given) ? given.toLowerCase() : given;
  const domain = DOCKER_HUB_NAMES.has(lower.replace(/:0*443$/, '')) ? DEFAULT_DOMAIN : lower;
  const path = hasDomain ? name.slice(slash + 1) : name;
  return { domain, path: domain === DEFAULT_DOMAIN && !path.includes('/') ? `library/${path}` : path };
}

function isDomain(text: string): boolean {
  const match = DOMAIN.exec(text);
  if (match === null) return false;
  const [, name = '', port] = match;
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)) return false;
  // The grammar accepts host names that do not exist, such as 300.1.1.1.
  if (!URL.canParse(`https://${text}`)) return false;
  return !name.startsWith('[') || isIPv6(name.slice(1, -1));
}

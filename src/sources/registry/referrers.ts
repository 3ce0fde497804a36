import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { type Digest, referrersTag } from '../../oci/digest.ts';
import type { ManifestLinks } from '../../oci/manifest.ts';
import { formatReference, type Reference } from '../../oci/reference.ts';
import type { RegistryClient } from '../../registry/client.ts';
import { MirrorsAloneError } from '../../registry/mirroring-client.ts';
import { createMemoryCaches, type MemoryCaches } from '../../util/memory-caches.ts';
import { type Documents, parsing, type Served } from '../documents.ts';

/** A manifest that refers to another, with the tag under which any registry can store it. */
export interface Referrer {
  readonly tag: string;
  readonly found: Served;
}

/**
 * Finds the referrers of some manifests of a repository, one manifest at a time.
 *
 * @throws ServiceError `parameter-invalid` if they are too many, or an error of the upstream
 */
export type FindReferrers = (
  reference: Reference,
  subjects: readonly Digest[],
  signal: AbortSignal,
) => AsyncGenerator<Referrer, void>;

/** The search for referrers of one request. */
export interface ReferrerSearch {
  readonly find: FindReferrers;
  /** Tells whether a registry was unreachable so far, so that only its mirrors were asked. */
  isPartial(): boolean;
}

export interface ReferrerFinderOptions {
  readonly client: RegistryClient;
  /** A monotonic clock, in milliseconds. */
  readonly now: () => number;
  /** The list to which its cache is added. */
  readonly caches?: MemoryCaches;
  /** Parses manifests and indexes. */
  readonly documents?: Documents;
}

/** The suffixes of cosign's tags, which follow the digest of a manifest. */
const COSIGN_SUFFIXES = ['.sig', '.att', '.sbom'];
/**
 * Maximum number of manifests whose referrers a request may list: all platforms of a few images. Each costs up to five
 * requests to its registry. This limit is not part of the request's budget, because it applies before the first of them.
 */
const SUBJECTS_MAX = 100;
/** Milliseconds for which an empty result is cached: short enough for a publisher who has just signed. */
const ALONE_MS = 30_000;
/** Bytes, enough for about ten thousand manifests. */
const ALONE_LIMIT = 4 * 2 ** 20;

/**
 * Finds the manifests that refer to another, by the registry's list or its fallback tag, and by cosign's tags. Most
 * images do not have referrers, so an empty result is cached for a short time.
 *
 * @returns a function that starts a request; all manifests of one request count together
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
 * @see https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
 */
export function createReferrerFinder({
  client,
  now,
  caches = createMemoryCaches(now),
  documents = parsing,
}: ReferrerFinderOptions): () => ReferrerSearch {
  const alone = caches.open<true>({ name: 'without-referrers', limit: ALONE_LIMIT, ttl: ALONE_MS });

  return () => {
    let left = SUBJECTS_MAX;
    let isPartial = false;
    const find: FindReferrers = async function* (reference, subjects, signal) {
      left -= subjects.length;
      if (left < 0) throw tooMany(reference, subjects.length);
      for (const subject of subjects) {
        const key = `${reference.name}@${subject}`;
        if (alone.get(key)) continue;
        const { found, isWhole } = await referrersOf(client, documents, reference, subject, signal);
        isPartial ||= !isWhole;
        if (found.length === 0 && isWhole) alone.set(key, true);
        yield* found;
      }
    };
    return { find, isPartial: () => isPartial };
  };
}

async function referrersOf(
  client: RegistryClient,
  documents: Documents,
  reference: Reference,
  subject: Digest,
  signal: AbortSignal,
): Promise<{ readonly found: readonly Referrer[]; readonly isWhole: boolean }> {
  let isWhole = true;
  /** Ignores missing referrers. Behind a firewall, only mirrors can respond, so their response counts. */
  const nothing = (error: unknown): undefined => {
    const isAlone = error instanceof MirrorsAloneError;
    if (isAlone) isWhole = false;
    const isMissing = error instanceof ServiceError && error.code === 'image-not-found';
    if (!isMissing && !isAlone) throw error;
  };
  const base = subject.replace(':', '-');
  const tagged = (tag: string): Promise<Served | undefined> =>
    client.manifest(reference, tag, signal).catch(nothing);
  const listed = async (): Promise<Served | undefined> =>
    (await client.referrers(reference, subject, signal).catch(nothing)) ?? tagged(referrersTag(subject));
  const all = await Promise.all([listed(), ...COSIGN_SUFFIXES.map((suffix) => tagged(`${base}${suffix}`))]);
  const found = all.flatMap((one, at) => {
    if (one === undefined || isEmptyIndex(documents.links(one))) return [];
    return [{ tag: at === 0 ? referrersTag(subject) : `${base}${COSIGN_SUFFIXES[at - 1]}`, found: one }];
  });
  return { found, isWhole };
}

function isEmptyIndex(links: ManifestLinks): boolean {
  return links.kind === 'index' && links.manifests.length === 0;
}

function tooMany(reference: Reference, count: number): ServiceError {
  return new ServiceError(
    'parameter-invalid',
    detail('referrers-exceeded', { image: formatReference(reference), count, limit: SUBJECTS_MAX }),
    { reason: `Too many images for referrers: at most ${SUBJECTS_MAX}` },
  );
}

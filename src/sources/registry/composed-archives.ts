import { FORMATS } from '../../archive/format.ts';
import type { Layout } from '../../archive/layout.ts';
import { isForeignLayer } from '../../oci/manifest.ts';
import { formatPlatform } from '../../oci/platform.ts';
import { isSeveral } from '../../oci/platform-choice.ts';
import { formatReference, type Reference, type Repository } from '../../oci/reference.ts';
import type { FetchedManifest, RegistryClient } from '../../registry/client.ts';
import { allOrNone } from '../../util/all-or-none.ts';
import type { MemoryCache, MemoryCaches } from '../../util/memory-caches.ts';
import type { Archive, ArchiveRequest } from '../image-source.ts';
import type { ImageSignatures } from '../signatures/image-signatures.ts';
import type { ArchiveBlobs } from './archive-blobs.ts';
import { isMissingImage } from './artifact-resolver.ts';
import { type ResolvedImage, signableDigests } from './image-resolver.ts';

/** An archive that equal requests share, with the steps that each request must repeat. */
export interface ComposedArchive {
  readonly archive: Omit<Archive, 'staleSince'>;
  readonly layout: Layout;
  /** Resolves to true if everything that was checked for the archive still holds. */
  readonly stillHolds: StillHolds;
  /** Opens the blobs for one request. Requests share no reader, because it checks each private blob only once. */
  readonly openBlobs: () => ArchiveBlobs;
}

/** @throws ServiceError why the images are not available any more */
export type StillHolds = (client: RegistryClient, signal: AbortSignal) => Promise<boolean>;

/** Maximum bytes of all archives. A typical one takes 50 kB. */
const LIMIT = 8 * 2 ** 20;
/** Milliseconds until an archive is composed again, so that the disk cache sees that its manifests are in use. */
const TTL_MS = 60_000;
/** Estimated bytes of an archive, and of each of its slices. */
const [ARCHIVE_BYTES, SLICE_BYTES] = [4096, 512];

/** Opens the cache of composed archives, by {@link keyOf}. Composing takes most of the time to the first byte. */
export function openComposedArchives(caches: MemoryCaches): MemoryCache<ComposedArchive> {
  return caches.open({
    ...{ name: 'composed-archives', limit: LIMIT, ttl: TTL_MS },
    weigh: ({ layout: { slices } }) =>
      slices.reduce(
        (sum, { content }) => sum + SLICE_BYTES + (content instanceof Uint8Array ? content.length : 0),
        ARCHIVE_BYTES,
      ),
  });
}

/**
 * Tells whether equal requests with equal roots get equal archives. Unpacked layers, the images of `have`, and
 * referrers can change. {@link keyOf} does not contain the platforms of single images.
 */
export function isRepeatable({ format, have, referrers, platform, ownPlatforms }: ArchiveRequest): boolean {
  const isAsStored = FORMATS[format].unpacked === undefined;
  const isForOne = !isSeveral(platform) && ownPlatforms === undefined;
  return isAsStored && have === undefined && referrers !== true && isForOne;
}

/** Fetches the manifest or index of each image. Undefined if one is missing, or is not an image. */
export async function fetchRoots(
  client: RegistryClient,
  references: readonly Reference[],
  signal: AbortSignal,
): Promise<readonly FetchedManifest[] | undefined> {
  try {
    return await allOrNone(
      references,
      (reference, ended) => client.manifest(reference, targetOf(reference), ended),
      signal,
    );
  } catch (error) {
    if (isMissingImage(error)) return undefined;
    throw error;
  }
}

/** Returns the key of an archive: everything that its bytes and its description depend on. */
export function keyOf(request: ArchiveRequest, roots: readonly FetchedManifest[]): string {
  const { references, platform, format, name, squash, isFormatOpen } = request;
  return JSON.stringify([
    references.map(formatReference),
    roots.map(({ digest, contentType }) => [digest, contentType]),
    ...[platform && !isSeveral(platform) && formatPlatform(platform), format, name && formatReference(name)],
    ...[squash, isFormatOpen],
  ]);
}

/** Wraps a client so that it returns the roots without a request. */
export function withRoots(
  client: RegistryClient,
  references: readonly Reference[],
  roots: readonly FetchedManifest[],
): RegistryClient {
  const known = new Map(
    references.map((reference, at) => [nameOf(reference, targetOf(reference)), roots[at]]),
  );
  return {
    ...client,
    async manifest(repository, target, signal) {
      return known.get(nameOf(repository, target)) ?? client.manifest(repository, target, signal);
    },
  };
}

/**
 * Creates the check for later requests for the same images; undefined if each request has to resolve them.
 *
 * @param signed the digests that {@link ImageSignatures.require} has returned
 */
export function checksOf(
  images: readonly ResolvedImage[],
  signatures: ImageSignatures,
  signed: readonly (string | undefined)[],
): StillHolds | undefined {
  const all = images.map((image) => ({
    reference: image.reference,
    digests: signableDigests(image),
    blobs: [image.config, ...image.layers],
  }));
  // Registries can omit foreign layers at any time.
  if (all.some(({ blobs }) => blobs.some(isForeignLayer))) return undefined;
  return async (client, signal) => {
    const now = await allOrNone(
      all,
      async ({ reference, digests, blobs }, ended) => {
        await client.checkSizes(reference, blobs, ended);
        return signatures.require(reference, digests, ended);
      },
      signal,
    );
    return now.every((digest, at) => digest === signed[at]);
  };
}

function targetOf({ digest, tag }: Reference): string {
  return digest ?? tag ?? 'latest';
}

function nameOf({ domain, path }: Repository, target: string): string {
  return `${domain}/${path} ${target}`;
}

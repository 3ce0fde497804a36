import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { ConfigSummary } from '../../oci/config-summary.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { formatPlatform, type Platform, type StatedPlatform, selectPlatform } from '../../oci/platform.ts';
import { formatReference, type Reference, referenceOrNone } from '../../oci/reference.ts';

/** An image that an engine has, for one platform. */
export interface EngineImage {
  /** An ID of the content: the digest of the platform's manifest if names keep platforms. */
  readonly id: string;
  /** The ID to list and remove the image by: the digest of the index if names keep platforms. */
  readonly listedId: string;
  /** The platform to request the image by; undefined if its name has only one. */
  readonly chosen: Platform | undefined;
  /** Bytes, unpacked, unless the engine stores compressed images. */
  readonly size: number;
  readonly platform: StatedPlatform;
  readonly repoDigests: readonly string[];
  readonly created: Date | undefined;
  readonly config: ConfigSummary;
}

/** Tells whether an image runs on a platform. */
export function isFor(wanted: Platform, { platform }: EngineImage): boolean {
  return selectPlatform(wanted, [platform], (stated) => stated) !== undefined;
}

/** Returns the digest of the image in its repository if the engine knows exactly one; otherwise, the ID of the image. */
export function digestOf(
  { id, repoDigests }: EngineImage,
  reference: Reference | undefined,
): Digest | undefined {
  if (reference?.digest !== undefined) return reference.digest;
  // Two manifests, of two tags or two types, may be of one image.
  const own = repoDigests.map(referenceOrNone).filter((found) => found?.name === reference?.name);
  return (own.length === 1 ? own[0]?.digest : undefined) ?? (isDigest(id) ? id : undefined);
}

/** Returns the error for an image that is not in the engine and may not be pulled. */
export function notInEngine(reference: Reference): ServiceError {
  return new ServiceError(
    'image-not-found',
    detail('engine-lacks-image', { image: formatReference(reference) }),
    { reason: 'Image not in the engine' },
  );
}

/** Returns the error for an image that the engine has only for another platform. */
export function otherPlatform(
  reference: Reference,
  wanted: Platform,
  { platform }: EngineImage,
): ServiceError {
  const there = formatPlatform(platform);
  return new ServiceError(
    'platform-not-found',
    detail('platform-missing', {
      image: formatReference(reference),
      platform: formatPlatform(wanted),
      platforms: there,
    }),
    {
      reason: `Not available for ${formatPlatform(wanted)}; available: ${there}`,
      members: { platforms: [there] },
    },
  );
}

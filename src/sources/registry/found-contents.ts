import type { ArchiveFormat } from '../../archive/format.ts';
import type { Entry } from '../../archive/layout.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { type Platform, samePlatform } from '../../oci/platform.ts';
import type { PlatformChoice } from '../../oci/platform-choice.ts';
import type { OpenedImage, UntaggedImage } from '../image-source.ts';
import type { ArchiveBlobs } from './archive-blobs.ts';
import type { StillHolds } from './composed-archives.ts';
import type { ResolvedKnownLayers } from './known-layers.ts';

/** The manifest or index of a reference. */
export interface Root {
  readonly digest: Digest;
  /**
   * Its digest in the registry. For a rebuilt index, the digest of the original; if the signature covers only an index,
   * the digest of that.
   */
  readonly upstream: Digest;
  readonly staleSince: number | undefined;
}

/** Tells whether the image at this position in the request keeps its tag. */
export type IsTagged = (at: number) => boolean;

/** The contents of an archive, as resolved from its registries. */
export interface FoundContents {
  readonly images?: readonly OpenedImage[];
  readonly format: ArchiveFormat;
  /** The name of the only file, which is sent without a tar around it. */
  readonly plainName?: string | undefined;
  readonly entries: (isTagged: IsTagged) => readonly Entry[];
  /** The names of each image, with and without its tag. */
  readonly names: readonly UntaggedImage[];
  /** The layers of each image. */
  readonly layers: readonly (readonly Descriptor[])[];
  /** Layers that are never omitted: those of referrers, whose own tags must not move to an incomplete image. */
  readonly kept: ReadonlySet<Digest>;
  /** The root that each reference points to. */
  readonly roots: readonly Root[];
  readonly holdings: ResolvedKnownLayers | undefined;
  /** The current digest of each image of `have` in its registry. */
  readonly held: readonly Digest[];
  /** As in {@link Archive}. */
  readonly platform: Platform | undefined;
  readonly blobs: ArchiveBlobs;
  /** The platforms that the name tells. */
  readonly suffix: PlatformChoice;
  /** As in {@link Archive}. */
  readonly partialReferrers?: boolean | undefined;
  /** Checks whether a later request can use the same contents. Absent if each request has to find them. */
  readonly stillHolds?: StillHolds | undefined;
  /** Opens the blobs for another request with a reader of its own, which repeats its checks. */
  readonly openBlobs?: (() => ArchiveBlobs) | undefined;
}

/** Returns the platform for the name of a file, which omits the default platform. */
export function unlessDefault(
  platform: Platform | undefined,
  defaultPlatform: Platform,
): Platform | undefined {
  return platform === undefined || samePlatform(platform, defaultPlatform) ? undefined : platform;
}

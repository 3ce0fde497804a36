import type { DeltaBase } from '../../archive/archive-name.ts';
import type { Claims, KnownLayers } from '../../archive/delta.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { isCompressedLayer, isIndexType } from '../../oci/manifest.ts';
import type { Reference } from '../../oci/reference.ts';
import type { ResolvedImage } from './image-resolver.ts';
import type { ResolvedTree } from './tree-resolver.ts';

/** The known layers of a receiver, as far as they matter for the requested images. */
export interface ResolvedKnownLayers extends Claims {
  /** How many of the individually named digests match no requested layer. */
  readonly unknown: number;
}

/**
 * Finds the layers of the requested images that the receiver claims to have. A claim may name a layer by its digest or
 * by its diff ID, which only the config states.
 *
 * @param held the images of `have`, resolved
 * @see https://github.com/opencontainers/image-spec/blob/main/config.md#layer-diffid
 */
export function resolveKnownLayers(
  images: readonly ResolvedImage[],
  { layers: named }: DeltaBase,
  held: readonly ResolvedImage[],
): ResolvedKnownLayers {
  const asked = new Set<unknown>(named);
  const layers = new Set(named);
  const known = new Set<unknown>(images.flatMap((image) => image.layers.map(({ digest }) => digest)));
  for (const { diffIds, layers: sent } of images) {
    for (const [at, { digest }] of sent.entries()) {
      known.add(diffIds[at]);
      if (asked.has(diffIds[at])) layers.add(digest);
    }
  }
  return {
    images: held.map(digestsOf),
    layers,
    unknown: named.filter((digest) => !known.has(digest)).length,
    proven: {
      images: held
        .filter(({ reference, indexDigest }) => isByDigest(reference) && indexDigest === undefined)
        .map(digestsOf),
      layers: provenLayers(named, images.flatMap(packedLayers)),
    },
  };
}

/** Matches the receiver's claims with the layers of whole trees, whose configs are not read. */
export function treeKnownLayers(
  trees: readonly ResolvedTree[],
  { layers: named }: DeltaBase,
  held: readonly ResolvedTree[],
): ResolvedKnownLayers {
  const known = new Set(trees.flatMap(digestsOf));
  return {
    images: held.map(digestsOf),
    layers: new Set(named),
    unknown: named.filter((digest) => !known.has(digest)).length,
    proven: {
      images: held
        .filter(({ reference, root }) => isByDigest(reference) && !isIndexType(root.mediaType))
        .map(digestsOf),
      layers: provenLayers(
        named,
        trees.flatMap(({ layers }) => layers.filter(isCompressedLayer)),
      ),
    },
  };
}

/** Lists the layers of an image whose digests are not diff IDs of the image. */
function packedLayers({ layers, diffIds }: ResolvedImage): Descriptor[] {
  const unpacked = new Set(diffIds);
  return layers.filter(({ digest }) => !unpacked.has(digest));
}

/** Tells whether an image is named by digest alone. With a tag beside the digest, it was looked up by tag. */
function isByDigest({ tag, digest }: Reference): boolean {
  return tag === undefined && digest !== undefined;
}

/**
 * Picks the named digests that prove a layer byte for byte. The digest of an uncompressed layer proves nothing, because
 * it is also the diff ID, and the receiver may have the layer in another compression.
 */
function provenLayers(named: readonly Digest[], packed: readonly Descriptor[]): KnownLayers['layers'] {
  const digests = new Set(packed.map(digestOf));
  return new Set(named.filter((digest) => digests.has(digest)));
}

function digestsOf({ layers }: { readonly layers: readonly Descriptor[] }): Digest[] {
  return layers.map(digestOf);
}

function digestOf({ digest }: Descriptor): Digest {
  return digest;
}

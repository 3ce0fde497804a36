import type { Holdings } from '../archive/delta.ts';
import type { DeltaBase } from '../archive/filename.ts';
import type { ResolvedImage } from './image-resolver.ts';

/** What a receiver has, as far as it matters. */
export interface ResolvedHoldings extends Holdings {
  /** How many of the digests that were named one by one are those of no layer that is wanted. */
  readonly unknown: number;
}

/**
 * Brings what a receiver says it has to the layers of the images that it wants. A layer may be named by its digest or,
 * as engines know it, by that of its content unpacked, which only the config tells.
 *
 * @param held the images of `have`, resolved
 * @see https://github.com/opencontainers/image-spec/blob/main/config.md#layer-diffid
 */
export function resolveHoldings(
  images: readonly ResolvedImage[],
  { layers: named }: DeltaBase,
  held: readonly ResolvedImage[],
): ResolvedHoldings {
  const layers = new Set(named);
  const known = new Set<unknown>(images.flatMap((image) => image.layers.map(({ digest }) => digest)));
  for (const { diffIds, layers: sent } of images) {
    for (const [at, { digest }] of sent.entries()) {
      known.add(diffIds[at]);
      if (named.some((name) => name === diffIds[at])) layers.add(digest);
    }
  }
  return {
    images: held.map((image) => image.layers.map(({ digest }) => digest)),
    layers,
    unknown: named.filter((digest) => !known.has(digest)).length,
  };
}

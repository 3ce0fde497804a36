import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { Format } from './format.ts';
import type { Entry } from './layout.ts';

/** The layers that the receiver of an archive already has. */
export interface KnownLayers {
  /** The layers of each image that the receiver has, from the base upwards. */
  readonly images: readonly (readonly Digest[])[];
  /** Layers that were named one by one. */
  readonly layers: ReadonlySet<Digest>;
}

/** The layers that the receiver of an archive claims to have, and those that its claims prove. */
export interface Claims extends KnownLayers {
  /**
   * Layers named by the digests of manifests or of layers in their stored compression. A tag can move, and neither a
   * diff ID nor an index says in which compression the receiver has a layer. Content stores such as containerd's need
   * exactly that.
   */
  readonly proven: KnownLayers;
}

/**
 * Lists the omitted layers that the receiver claims to have without proof. A content store such as containerd's imports
 * an image without them and moves its tag to the incomplete image.
 *
 * @param spare the layers that {@link layersToOmit} omits
 * @see https://github.com/moby/moby/blob/master/daemon/containerd/image_exporter.go (LoadImage, WithSkipMissing)
 */
export function assumedLayers(
  images: readonly (readonly Descriptor[])[],
  spare: readonly Descriptor[],
  { proven }: Claims,
  format: Pick<Format, 'omits'>,
): ReadonlySet<Digest> {
  const known = new Set(layersToOmit(images, proven, format).map(({ digest }) => digest));
  return new Set(spare.map(({ digest }) => digest).filter((digest) => !known.has(digest)));
}

/**
 * Selects the layers that a delta omits. Docker identifies a layer by all layers below it, so its format omits a layer
 * only with those below it. Readers of the OCI layout identify each layer by itself.
 *
 * @param images the layers of each image that is sent
 * @see https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
 */
export function layersToOmit(
  images: readonly (readonly Descriptor[])[],
  have: KnownLayers,
  { omits }: Pick<Format, 'omits'>,
): Descriptor[] {
  const spare = new Map<Digest, Descriptor>();
  const needed = new Set<Digest>();
  const isHeldOf = HELD[omits](have);
  for (const layers of images) {
    const isHeld = isHeldOf(layers);
    for (const [at, layer] of layers.entries()) {
      if (isHeld(layer, at)) spare.set(layer.digest, layer);
      else needed.add(layer.digest);
    }
  }
  // An image can contain a layer several times, and the receiver may lack one of these positions.
  return [...spare.values()].filter(({ digest }) => !needed.has(digest));
}

/** Omits the files of layers from an archive. The metadata still names them. */
export function withoutLayers(entries: readonly Entry[], layers: readonly Descriptor[]): Entry[] {
  const left = new Set(layers.map(({ digest }) => digest));
  return entries.filter(({ content }) => content instanceof Uint8Array || !left.has(content.digest));
}

type IsHeld = (layer: Descriptor, at: number) => boolean;

/** For each way to omit layers: returns the layers of an image that the receiver has. */
const HELD: Readonly<
  Record<Format['omits'], (have: KnownLayers) => (chain: readonly Descriptor[]) => IsHeld>
> = {
  bottom: (have) => (chain) => heldChain(chain, have),
  any: (have) => {
    const isHeld = heldAnywhere(have);
    return () => isHeld;
  },
};

function heldAnywhere({ images, layers }: KnownLayers): IsHeld {
  const all = new Set([...layers, ...images.flat()]);
  return ({ digest }) => all.has(digest);
}

function heldChain(chain: readonly Descriptor[], { images, layers }: KnownLayers): IsHeld {
  const isNamed = (digest: Digest): boolean => layers.has(digest);
  const depths = images.map((held) => depth(chain, (digest, at) => held[at] === digest));
  const deepest = Math.max(depth(chain, isNamed), ...depths);
  return (_layer, at) => at < deepest;
}

/** The number of consecutive layers from the base upwards that the receiver has. */
function depth(chain: readonly Descriptor[], isHeld: (digest: Digest, at: number) => boolean): number {
  const gap = chain.findIndex(({ digest }, at) => !isHeld(digest, at));
  return gap === -1 ? chain.length : gap;
}

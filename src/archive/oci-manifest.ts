import type { Descriptor } from '../oci/descriptor.ts';
import { sha256 } from '../oci/digest.ts';
import { type ImageManifest, MEDIA_TYPES } from '../oci/manifest.ts';

const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
const OCI_LAYER = /^application\/vnd\.oci\.image\.layer\./;
const DOCKER_LAYER =
  /^application\/vnd\.docker\.image\.rootfs\.(?<foreign>foreign\.)?diff\.tar(?:[.+](?<compression>gzip|zstd))?$/;

/**
 * Writes the OCI manifest of a Docker schema 2 image: the same config and layers with OCI media types. The bytes depend
 * only on the registry's manifest, so that archives stay reproducible.
 *
 * @see https://github.com/opencontainers/image-spec/blob/main/media-types.md#compatibility-matrix
 */
export function ociManifest({ config, layers }: Pick<ImageManifest, 'config' | 'layers'>): {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
} {
  const body = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: { ...contentOf(config), mediaType: OCI_CONFIG },
    layers: layers.map((layer) => ({ ...contentOf(layer), mediaType: ociLayerType(layer) })),
  };
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  return {
    descriptor: { mediaType: MEDIA_TYPES.ociManifest, digest: sha256(bytes), size: bytes.length },
    bytes,
  };
}

/** Returns the members of a descriptor in the order of the specification. */
function contentOf({ mediaType, digest, size, urls }: Descriptor): Descriptor {
  return { mediaType, digest, size, ...(urls !== undefined && { urls }) };
}

/**
 * Maps a layer's media type to OCI. A type without a format becomes gzip, which old clients pushed; loaders detect
 * others.
 */
function ociLayerType({ mediaType }: Descriptor): string {
  if (OCI_LAYER.test(mediaType)) return mediaType;
  const { foreign, compression } = DOCKER_LAYER.exec(mediaType)?.groups ?? { compression: 'gzip' };
  const kind = foreign === undefined ? '' : 'nondistributable.';
  return `application/vnd.oci.image.layer.${kind}v1.tar${compression === undefined ? '' : `+${compression}`}`;
}

import { isUtf8 } from 'node:buffer';
import { buffer } from 'node:stream/consumers';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isImageConfig, MEDIA_TYPES } from '../oci/manifest.ts';
import { mayHaveMember } from './go-json.ts';

/** A manifest's media type and the blobs that it names. */
export interface NamedBlobs {
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** Maximum bytes of a config and of a layer that are read. Larger ones could be a program. */
const BLOB_MAX = 4 * 2 ** 20;
const LAYERS_MAX = 50;

/**
 * Tells whether an engine could run a manifest, whatever media types it states. Engines ignore those of layers. Containerd
 * ignores that of the config, but needs its list of unpacked layers. Podman does not need the list, but the type of the
 * config or Docker's manifest. In any case, layers of text have no program.
 */
export async function isRunnable(
  { mediaType, config, layers }: NamedBlobs,
  blobs: BlobReader,
  signal: AbortSignal,
): Promise<boolean> {
  if (config.size > BLOB_MAX) return true;
  const body = await buffer(await blobs.read(config, undefined, signal));
  const isImage = mediaType === MEDIA_TYPES.dockerManifest || isImageConfig(config);
  if (!isImage && !mayHaveMember(body, 'diff_ids')) return false;
  if (layers.length > LAYERS_MAX) return true;
  for (const layer of layers) {
    if (layer.size > BLOB_MAX) return true;
    const bytes = await buffer(await blobs.read(layer, undefined, signal));
    if (!isUtf8(bytes) || bytes.includes(0)) return true;
  }
  return false;
}

import { isUtf8 } from 'node:buffer';
import { buffer } from 'node:stream/consumers';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isJsonObject, parseJsonObject } from '../oci/json.ts';

/** The blobs that a manifest names. */
export interface NamedBlobs {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** Maximum bytes of a config and of a layer that are read. Larger ones could be a program. */
const BLOB_MAX = 4 * 2 ** 20;
const LAYERS_MAX = 50;

/**
 * Tells whether an engine could run a manifest, whatever media types it states. Engines ignore those of layers, and some
 * ignore that of the config. Only the contents are certain: a config without unpacked layers has no root file system,
 * and layers of text have no program.
 */
export async function isRunnable(
  { config, layers }: NamedBlobs,
  blobs: BlobReader,
  signal: AbortSignal,
): Promise<boolean> {
  if (config.size > BLOB_MAX) return true;
  const body = parseJsonObject(await buffer(await blobs.read(config, undefined, signal)));
  const unpacked = isJsonObject(body?.rootfs) ? body.rootfs.diff_ids : undefined;
  if (!Array.isArray(unpacked) || unpacked.length === 0) return false;
  if (layers.length > LAYERS_MAX) return true;
  for (const layer of layers) {
    if (layer.size > BLOB_MAX) return true;
    const bytes = await buffer(await blobs.read(layer, undefined, signal));
    if (!isUtf8(bytes) || bytes.includes(0)) return true;
  }
  return false;
}

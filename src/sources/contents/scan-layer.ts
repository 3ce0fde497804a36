import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { createLayerTable, type LayerTable } from '../../contents/layer-table.ts';
import { type Detail, detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { MalformedTar } from '../../tar/malformed-tar.ts';
import { createTarScanner } from '../../tar/scanner.ts';
import { DamagedData, decompress } from '../../util/decompress.ts';
import type { LayerId } from './table-store.ts';

/** Limits of one layer, because a few kilobytes can unpack to terabytes. */
export interface LayerLimits {
  /** Maximum bytes of the unpacked layer. */
  readonly unpackedSize: number;
  /** Maximum number of entries. */
  readonly entries: number;
}

/** Functions that receive each chunk of a layer during the scan. */
export interface ScanObserver {
  readonly onPacked: (chunk: Uint8Array) => void;
  readonly onUnpacked: (chunk: Uint8Array) => void;
}

/** Bytes of an output chunk: large ones make hashing faster. */
const CHUNK = 512 * 1024;
/** Maximum bytes of all paths, link targets, and extended attributes of a layer. */
const TEXT_MAX = 128 * 2 ** 20;

/**
 * Reads a layer once and makes its table.
 *
 * @param packed the layer as the registry serves it
 * @throws ServiceError `layer-invalid` or `contents-too-large`, with the digest of the layer
 */
export async function scanLayer(
  packed: Readable,
  { digest, diffId }: LayerId,
  limits: LayerLimits,
  { onPacked, onUnpacked }: ScanObserver,
): Promise<LayerTable> {
  const builder = createLayerTable();
  const hash = createHash('sha256');
  let size = 0;
  /** Bytes of all files. Because of sparse files, these can be more than the bytes of the layer. */
  let fileBytes = 0;
  const scanner = createTarScanner((entry) => {
    builder.add(entry);
    fileBytes += entry.size;
    if (fileBytes > limits.unpackedSize) throw tooLarge('unpacked', digest, limits.unpackedSize);
    if (builder.count > limits.entries) throw tooLarge('files', digest, limits.entries);
    if (builder.textBytes > TEXT_MAX) throw tooLarge('names', digest, TEXT_MAX);
  });
  try {
    for await (const chunk of decompress(packed, { chunkSize: CHUNK, inspect: onPacked })) {
      size += chunk.length;
      onUnpacked(chunk);
      if (size > limits.unpackedSize) throw tooLarge('unpacked', digest, limits.unpackedSize);
      hash.update(chunk);
      scanner.push(chunk);
    }
    scanner.end();
  } catch (error) {
    if (error instanceof DamagedData) throw layerInvalid(digest, detail('compression-damaged', {}), error);
    if (error instanceof MalformedTar) throw layerInvalid(digest, error.reason);
    throw error;
  }
  if (`sha256:${hash.digest('hex')}` !== diffId) throw layerInvalid(digest, detail('layer-digest-wrong', {}));
  return builder.done(size);
}

/** Creates the error for a layer that container engines refuse. */
export function layerInvalid(digest: string, reason: Detail, cause?: Error): ServiceError {
  return new ServiceError('layer-invalid', [detail('layer-invalid', { digest }), reason], { cause });
}

function tooLarge(row: 'files' | 'names' | 'unpacked', digest: string, limit: number): ServiceError {
  return new ServiceError('contents-too-large', detail(`layer-${row}-exceeded`, { digest, limit }));
}

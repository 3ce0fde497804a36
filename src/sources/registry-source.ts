import { Readable } from 'node:stream';
import { composeArchive } from '../archive/compose.ts';
import { spareLayers, withoutLayers } from '../archive/delta.ts';
import { archiveEntries } from '../archive/entries.ts';
import { archiveFilename } from '../archive/filename.ts';
import { cutRange, layoutArchive } from '../archive/layout.ts';
import { CatalogueError } from '../errors.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { Digest } from '../oci/digest.ts';
import { isZstdLayer } from '../oci/manifest.ts';
import { type Platform, samePlatform } from '../oci/platform.ts';
import type { RegistryClient } from '../registry/client.ts';
import { resolveHoldings } from './holdings.ts';
import { type ResolvedImage, resolveImage } from './image-resolver.ts';
import type { Archive, ImageSource } from './image-source.ts';

export interface RegistrySourceOptions {
  readonly client: RegistryClient;
  readonly defaultPlatform: Platform;
  /** Bytes of an archive at most. */
  readonly maxSize: number;
}

/** Composes archives from registry blobs as they are: no daemon, nothing staged. */
export function createRegistrySource({
  client,
  defaultPlatform,
  maxSize,
}: RegistrySourceOptions): ImageSource<Archive> {
  return {
    async open({ references, platform, format, have, contentWanted }, signal) {
      const options = { platform, defaultPlatform, mayReadConfig: contentWanted };
      const resolved = await allOrNone(signal, (ended) =>
        [...references, ...(have?.references ?? [])].map((reference) =>
          resolveImage(client, reference, options, ended),
        ),
      );
      const images = resolved.slice(0, references.length);
      const held = resolved.slice(references.length);
      const holdings = have && (await resolveHoldings(client, images, have, held, signal));
      const entries = archiveEntries(images, format);
      const spare =
        holdings === undefined
          ? []
          : spareLayers(
              images.map(({ layers }) => layers),
              holdings,
              format,
            );
      const layout = layoutArchive(withoutLayers(entries, spare));
      requireSize(layout.size, maxSize);
      const blobs = blobsOf(client, images);
      const isDefault = platform === undefined || samePlatform(platform, defaultPlatform);
      return {
        filename: archiveFilename(
          references,
          isDefault ? undefined : platform,
          spare.length === 0 ? undefined : have,
        ),
        size: layout.size,
        etag: layout.etag,
        digests: images.map(({ manifest }) => manifest.digest),
        staleSince: oldest(images.map(({ staleSince }) => staleSince)),
        omitted: have && { layers: spare, fullSize: layoutArchive(entries).size },
        zstd: images.some(({ layers }) => layers.some(isZstdLayer)),
        read: (range = { start: 0, end: layout.size }, ended) =>
          composeArchive(cutRange(layout, range), blobs, ended),
      };
    },
  };
}

/** @throws CatalogueError `image-too-large` */
export function requireSize(size: number, maxSize: number): void {
  if (size <= maxSize) return;
  throw new CatalogueError(
    'image-too-large',
    `The archive would have ${size} bytes; this service sends at most ${maxSize}.`,
  );
}

/** Reads each blob from the repository of an image that has it; a config that is known already, from memory. */
function blobsOf(client: RegistryClient, images: readonly ResolvedImage[]): BlobReader {
  const readers = new Map<Digest, BlobReader>();
  for (const { reference, config, layers } of images) {
    const reader = client.blobs(reference);
    for (const { digest } of [config, ...layers]) readers.set(digest, reader);
  }
  for (const { config, configBytes } of images) {
    if (configBytes !== undefined) readers.set(config.digest, inMemory(configBytes));
  }
  return {
    read(blob, range, signal) {
      const reader = readers.get(blob.digest);
      if (reader === undefined) throw new RangeError(`${blob.digest} is not of this archive`);
      return reader.read(blob, range, signal);
    },
    prefetch: (blob, signal) => readers.get(blob.digest)?.prefetch?.(blob, signal),
  };
}

function oldest(times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

function inMemory(bytes: Uint8Array): BlobReader {
  return { read: async (_blob, range) => Readable.from([bytes.subarray(range?.start, range?.end)]) };
}

/** Starts several at once; the first failure ends the others. */
async function allOrNone<T>(signal: AbortSignal, start: (signal: AbortSignal) => Promise<T>[]): Promise<T[]> {
  const failed = new AbortController();
  try {
    return await Promise.all(start(AbortSignal.any([signal, failed.signal])));
  } catch (error) {
    failed.abort();
    throw error;
  }
}

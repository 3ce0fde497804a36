import { composeArchive } from '../../archive/compose.ts';
import { type ClassicImage, withOneLayer, withOwnLayers } from '../../archive/docker-classic.ts';
import { FORMATS } from '../../archive/format.ts';
import { cutRange, type Layout } from '../../archive/layout.ts';
import { layoutRootfs, type NamedImage } from '../../archive/rootfs.ts';
import type { FileTree } from '../../contents/file-tree.ts';
import type { BlobReader } from '../../oci/blob-reader.ts';
import { type Digest, parseDigest } from '../../oci/digest.ts';
import { formatReference } from '../../oci/reference.ts';
import { inSlices } from '../../util/in-slices.ts';
import { createSingleFlight } from '../../util/single-flight.ts';
import type { Archive, ArchiveRequest, ImageSource, OpenedImage } from '../image-source.ts';
import { requireSize } from '../require-size.ts';
import { contentsUnread, type ImageContents, type ReadingOptions } from './image-contents.ts';

/** Hashes archives once, and stores the hash by the ETag of the archive. Hashes are sha256 in hex digits. */
export interface ArchiveHashes {
  /** Returns the stored hash; undefined if it was never computed. */
  find(archive: Archive): Promise<string | undefined>;
  /** @param onChunk sees each chunk of the archive */
  compute(archive: Archive, onChunk: (chunk: Uint8Array) => void, signal: AbortSignal): Promise<string>;
}

export interface ContentsSourceOptions {
  readonly source: ImageSource<Archive>;
  readonly contents: Pick<ImageContents, 'open'>;
  readonly hashes: ArchiveHashes;
  /** Maximum bytes of an archive. */
  readonly maxSize: number;
}

/**
 * Adds the formats that contain the files of images. It reads layers after the source has found them, so that neither
 * the deadline nor the budget of that search applies.
 */
export function contentsSource({
  source,
  contents,
  hashes,
  maxSize,
}: ContentsSourceOptions): ImageSource<Archive> {
  /** Layouts by their trees, which end with them. The size of a tree includes its layout. */
  const layouts = new WeakMap<FileTree, Layout>();
  const laying = createSingleFlight<Layout>();

  const rootfsOf = async (image: NamedImage, signal: AbortSignal): Promise<Layout> => {
    const known = layouts.get(image.tree);
    if (known !== undefined) return known;
    const key = image.layers.map(({ digest }, at) => `${digest} ${image.diffIds[at]}`).join(' ');
    const found = await laying(key, (shared) => inSlices(layoutRootfs(image), shared), signal);
    layouts.set(image.tree, found);
    return found;
  };

  /** Hashes the root file system of an image, which takes a pass over its layers. */
  const diffIdOf = async (
    rootfs: Archive,
    { layers, config }: OpenedImage,
    { onDemand = Number.POSITIVE_INFINITY, admit, onProgress }: ReadingOptions,
    signal: AbortSignal,
  ): Promise<Digest> => {
    const known = await hashes.find(rootfs);
    if (known !== undefined) return parseDigest(`sha256:${known}`);
    const bytes = layers.reduce((sum, { size }) => sum + size, 0);
    if (bytes > onDemand) throw contentsUnread(bytes);
    const count = await admit?.(bytes);
    const progress = { id: config.digest, status: 'Hashing', current: 0, total: rootfs.size };
    const onChunk = (chunk: Uint8Array): void => {
      count?.(chunk);
      progress.current += chunk.length;
      onProgress?.([progress]);
    };
    return parseDigest(`sha256:${await hashes.compute(rootfs, onChunk, signal)}`);
  };

  return {
    traits: source.traits,
    async open(request, signal) {
      const archive = await source.open(request, signal);
      const { unpacked } = FORMATS[request.format];
      if (unpacked === undefined || request.reading === 'none') return archive;
      const opened = archive.images ?? [];
      const archiveOf = (layout: Layout, images: readonly OpenedImage[]): Archive => {
        const blobs = joined(images);
        return {
          ...archive,
          ...{ size: layout.size, etag: layout.etag, zstd: false, layers: undefined },
          read: (range = { start: 0, end: layout.size }, ended, onFetched) =>
            composeArchive(cutRange(layout, range), blobs, ended, { onFetched }),
        };
      };
      const unpack = async (image: OpenedImage): Promise<NamedImage> => ({
        ...image,
        ...(await contents.open(image, readingOptions(image, request), signal)),
      });
      const squash = async (image: OpenedImage): Promise<ClassicImage> => {
        const own = await unpack(image);
        const rootfs = await rootfsOf(own, signal);
        requireSize(rootfs.size, maxSize);
        const options = readingOptions(image, request);
        return withOneLayer(own, rootfs, await diffIdOf(archiveOf(rootfs, [image]), image, options, signal));
      };
      const layoutOf = async (): Promise<Layout> => {
        const { layoutLayers } = unpacked;
        if (layoutLayers === undefined) {
          const [image] = opened;
          if (image === undefined) throw new RangeError('A root file system is of one image');
          return rootfsOf(await unpack(image), signal);
        }
        const images: ClassicImage[] = [];
        for (const image of opened)
          images.push(request.squash ? await squash(image) : withOwnLayers(await unpack(image)));
        return layoutLayers(images);
      };
      const layout = await layoutOf();
      requireSize(layout.size, maxSize);
      return archiveOf(layout, opened);
    },
  };
}

function readingOptions(
  { reference }: OpenedImage,
  { reading, client, onProgress }: ArchiveRequest,
): ReadingOptions {
  const image = formatReference(reference);
  return {
    ...(reading !== 'none' && reading),
    client,
    onProgress: onProgress && ((layers) => onProgress({ stage: 'reading', image, layers })),
  };
}

/** Reads the blobs of all images. */
function joined(images: readonly OpenedImage[]): BlobReader {
  const readers = new Map(images.flatMap(({ layers, blobs }) => layers.map(({ digest }) => [digest, blobs])));
  const isStored = images.every(({ blobs }) => blobs.readVerified !== undefined);
  const readerOf = (digest: Digest): BlobReader => {
    const reader = readers.get(digest);
    if (reader === undefined) throw new RangeError(`${digest} is not in this archive`);
    return reader;
  };
  const read: BlobReader['read'] = (blob, ...rest) => readerOf(blob.digest).read(blob, ...rest);
  if (!isStored) return { read };
  return {
    read,
    readVerified(blob, ...rest) {
      const reader = readerOf(blob.digest);
      return reader.readVerified?.(blob, ...rest) ?? reader.read(blob, ...rest);
    },
  };
}

import { composeArchive } from '../../archive/compose.ts';
import { FORMATS, type UnpackedFormat } from '../../archive/format.ts';
import { cutRange, type Layout } from '../../archive/layout.ts';
import type { NamedImage } from '../../archive/rootfs.ts';
import type { FileTree } from '../../contents/file-tree.ts';
import type { BlobReader } from '../../oci/blob-reader.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatReference } from '../../oci/reference.ts';
import { inSlices } from '../../util/in-slices.ts';
import { createSingleFlight } from '../../util/single-flight.ts';
import type { Archive, ArchiveRequest, ImageSource, OpenedImage } from '../image-source.ts';
import { requireSize } from '../require-size.ts';
import type { ImageContents, ReadingOptions } from './image-contents.ts';

/**
 * Adds the formats that contain the files of images. It reads layers after the source has found them, so that neither
 * the deadline nor the budget of that search applies.
 *
 * @param maxSize maximum bytes of an archive
 */
export function contentsSource(
  source: ImageSource<Archive>,
  contents: ImageContents,
  maxSize: number,
): ImageSource<Archive> {
  /** Layouts by their trees, which end with them. The size of a tree includes its layout. */
  const layouts = new WeakMap<FileTree, Layout>();
  const laying = createSingleFlight<Layout>();

  const layoutOf = async (
    { layout, isOfFilesOnly }: UnpackedFormat,
    images: readonly NamedImage[],
    signal: AbortSignal,
  ): Promise<Layout> => {
    const [image] = images;
    if (image === undefined || !isOfFilesOnly) return inSlices(layout(images), signal);
    const known = layouts.get(image.tree);
    if (known !== undefined) return known;
    const key = image.layers.map(({ digest }, at) => `${digest} ${image.diffIds[at]}`).join(' ');
    const found = await laying(key, (shared) => inSlices(layout(images), shared), signal);
    layouts.set(image.tree, found);
    return found;
  };

  return {
    traits: source.traits,
    async open(request, signal) {
      const archive = await source.open(request, signal);
      const { unpacked } = FORMATS[request.format];
      if (unpacked === undefined || request.reading === 'none') return archive;
      const images: NamedImage[] = [];
      for (const image of archive.images ?? [])
        images.push({ ...image, ...(await contents.open(image, readingOptions(image, request), signal)) });
      const layout = await layoutOf(unpacked, images, signal);
      requireSize(layout.size, maxSize);
      const blobs = joined(archive.images ?? []);
      return {
        ...archive,
        ...{ size: layout.size, etag: layout.etag, zstd: false },
        read: (range = { start: 0, end: layout.size }, ended, onFetched) =>
          composeArchive(cutRange(layout, range), blobs, ended, { onFetched }),
      };
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

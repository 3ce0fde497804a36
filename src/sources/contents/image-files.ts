import { composeArchive } from '../../archive/compose.ts';
import { cutRange, type Layout } from '../../archive/layout.ts';
import type { UnpackedImage } from '../../archive/rootfs.ts';
import type { Platform } from '../../oci/platform.ts';
import type { Reference } from '../../oci/reference.ts';
import type { Archive, ArchiveRequest, ImageSource } from '../image-source.ts';
import { requireSize } from '../require-size.ts';
import type { ImageContents, ListedImage, ReadingOptions } from './image-contents.ts';

/** A request for the files of one image. */
export interface FilesRequest extends Pick<ArchiveRequest, 'client' | 'credential' | 'onCostly'> {
  readonly reference: Reference;
  /** Undefined for the default platform. */
  readonly platform: Platform | undefined;
  readonly reading: ReadingOptions | undefined;
}

/** The files of one image. */
export interface OpenedFiles {
  readonly image: UnpackedImage;
  /** The config, byte for byte. */
  readonly configBytes: Uint8Array;
  /** The image as an archive with its layers unchanged. */
  readonly archive: Archive;
  /** Makes an archive of files of the image. @throws ServiceError if it is too large */
  archiveOf(layout: Layout, filename: string): Archive;
}

/** The files of one image, for a list. */
export interface ListedFiles {
  readonly image: ListedImage;
  /** The image as an archive with its layers unchanged. */
  readonly archive: Archive;
}

/** Opens the files of images, with the signature policy and the budgets of downloads. */
export interface ImageFiles {
  /** @throws ServiceError as {@link ImageContents.open} does, and why the image cannot be found */
  open(request: FilesRequest, signal: AbortSignal): Promise<OpenedFiles>;
  /** @throws ServiceError as {@link ImageContents.list} does, and why the image cannot be found */
  list(request: FilesRequest, signal: AbortSignal): Promise<ListedFiles>;
}

/** @param maxSize maximum bytes of an archive, or of one file, because a sparse file can state any size */
export function createImageFiles(
  source: ImageSource<Archive>,
  contents: ImageContents,
  maxSize: number,
): ImageFiles {
  const find = async ({ reference, platform, reading, ...rest }: FilesRequest, signal: AbortSignal) => {
    const request = {
      ...rest,
      references: [reference],
      platform,
      format: 'rootfs',
      reading: 'none',
    } as const;
    const archive = await source.open(request, signal);
    const [packed] = archive.images ?? [];
    if (packed === undefined) throw new RangeError('The source cannot read layers');
    return { archive, packed, options: { ...reading, client: rest.client } };
  };
  return {
    async open(request, signal) {
      const { archive, packed, options } = await find(request, signal);
      const image = await contents.open(packed, options, signal);
      return {
        ...{ image, archive, configBytes: packed.configBytes },
        archiveOf({ size, etag, slices }, filename) {
          requireSize(size, maxSize);
          return {
            ...archive,
            ...{ filename, size, etag, zstd: false },
            read: (range = { start: 0, end: size }, ended, onFetched) =>
              composeArchive(cutRange({ size, etag, slices }, range), packed.blobs, ended, { onFetched }),
          };
        },
      };
    },
    async list(request, signal) {
      const { archive, packed, options } = await find(request, signal);
      return { archive, image: await contents.list(packed, options, signal) };
    },
  };
}

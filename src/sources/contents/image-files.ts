import { composeArchive } from '../../archive/compose.ts';
import { cutRange, type Layout } from '../../archive/layout.ts';
import type { UnpackedImage } from '../../archive/rootfs.ts';
import type { Platform } from '../../oci/platform.ts';
import type { Reference } from '../../oci/reference.ts';
import type { Archive, ArchiveRequest, ImageSource } from '../image-source.ts';
import type { ImageContents, ReadingOptions } from './image-contents.ts';

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
  /** The image as an archive of layers as they are. */
  readonly archive: Archive;
  /** Makes an archive of files of the image. */
  archiveOf(layout: Layout, filename: string): Archive;
}

/** Opens the files of images, with the signature policy and the budgets of downloads. */
export interface ImageFiles {
  /** @throws ServiceError as {@link ImageContents.open} does, and why the image cannot be found */
  open(request: FilesRequest, signal: AbortSignal): Promise<OpenedFiles>;
}

export function createImageFiles(source: ImageSource<Archive>, contents: ImageContents): ImageFiles {
  return {
    async open({ reference, platform, reading, ...rest }, signal) {
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
      const image = await contents.open(packed, { ...reading, client: rest.client }, signal);
      return {
        ...{ image, archive, configBytes: packed.configBytes },
        archiveOf: ({ size, etag, slices }, filename) => ({
          ...archive,
          ...{ filename, size, etag, zstd: false },
          read: (range = { start: 0, end: size }, ended, onFetched) =>
            composeArchive(cutRange({ size, etag, slices }, range), packed.blobs, ended, { onFetched }),
        }),
      };
    },
  };
}

import type { Readable } from 'node:stream';
import type { ArchiveFormat } from '../archive/entries.ts';
import type { ByteRange } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { Platform } from '../oci/platform.ts';
import type { Reference } from '../oci/reference.ts';

/** What a client asks for. */
export interface ArchiveRequest {
  /** In the order of the archive, each once. */
  readonly references: readonly Reference[];
  /** Where absent: the server's default, or exactly what a digest names. */
  readonly platform: Platform | undefined;
  readonly format: ArchiveFormat;
  /** False where only the archive's properties are wanted (HEAD): then no blob is fetched. */
  readonly contentWanted: boolean;
}

/** One tar file that is fixed to the last byte, though none of it may have been fetched. */
export interface Archive {
  readonly filename: string;
  /** Bytes. */
  readonly size: number;
  /** A strong validator, quotes included. */
  readonly etag: string;
  /** The manifest of each image, in the order of the request. */
  readonly digests: readonly Digest[];
  /** Whether a layer is compressed with zstd, which Docker before 23.0 cannot load. */
  readonly zstd: boolean;
  /**
   * Set where a registry could not be asked what its tag means now: when it last said so, in milliseconds since the
   * epoch; of several images, the longest ago.
   */
  readonly staleSince: number | undefined;
  /**
   * Streams the file or a range of it. The stream ends after exactly those bytes or fails; destroying it, or aborting
   * the signal, ends all upstream work.
   */
  read(range: ByteRange | undefined, signal: AbortSignal): Readable;
}

/** Where images come from. */
export interface ImageSource {
  /**
   * Finds the images and fixes the archive.
   *
   * @throws CatalogueError why there is no such archive
   */
  open(request: ArchiveRequest, signal: AbortSignal): Promise<Archive>;
}

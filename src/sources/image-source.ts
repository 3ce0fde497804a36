import type { Readable } from 'node:stream';
import type { DeltaBase } from '../archive/archive-name.ts';
import type { ArchiveImage } from '../archive/entries.ts';
import type { ArchiveFormat } from '../archive/format.ts';
import type { BlobReader, Demand } from '../oci/blob-reader.ts';
import type { ByteRange, Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { Platform, StatedPlatform } from '../oci/platform.ts';
import type { PlatformChoice } from '../oci/platform-choice.ts';
import type { Reference } from '../oci/reference.ts';
import type { ClientCredential } from '../registry/client-credential.ts';

/**
 * A client's request for an archive. It excludes the method, so that HEAD and GET find the same archive or the same
 * error.
 */
export interface ArchiveRequest {
  /** In the order of the archive, each once. */
  readonly references: readonly Reference[];
  /** Undefined for the default platform of the service, or for the image that a digest names. */
  readonly platform: PlatformChoice;
  /** The platforms of single images, by their full names; absent for images that have the common one. */
  readonly ownPlatforms?: ReadonlyMap<string, Platform> | undefined;
  /** The name by which the only image loads; undefined for that of its reference. */
  readonly name?: Reference | undefined;
  /** True if signatures and whatever else refers to the images come with them. */
  readonly referrers?: boolean | undefined;
  readonly format: ArchiveFormat;
  /** True for one layer in each image: its root file system. */
  readonly squash?: boolean | undefined;
  /** True if the client names no format, so that an artifact other than an image is sent as its files. */
  readonly isFormatOpen?: boolean | undefined;
  /** The images that the receiver already has, whose layers are omitted. */
  readonly have?: DeltaBase | undefined;
  /**
   * True if the client prefers early bytes to a known length. The source then need not prepare the whole archive first.
   */
  readonly stream?: boolean;
  /** Conditions for reading layers, for formats that depend on their content. */
  readonly reading?: /** Finds the images only, and describes them as an archive of layers as they are. */
    | 'none'
    | {
        /** Maximum bytes of layers to read; unlimited if absent. */
        readonly onDemand?: number | undefined;
        /**
         * Called before layers are read, with their bytes.
         *
         * @returns a function that sees each unpacked chunk
         */
        readonly admit?: ((bytes: number) => Promise<((chunk: Uint8Array) => void) | undefined>) | undefined;
      }
    | undefined;
  /** Called with the progress of an archive that takes time to prepare. */
  readonly onProgress?: (progress: Progress) => void;
  /** Called once before more than a handful of upstream requests are sent; throws to end the work. */
  readonly onCostly?: (() => Promise<void>) | undefined;
  /** The client, whose share of the memory for metadata is limited; absent if there is only one client. */
  readonly client?: string | undefined;
  /** The credentials of the client; absent for what the service itself may read. */
  readonly credential?: ClientCredential | undefined;
}

/** The progress of an archive. */
export type Progress =
  /** The number of requests ahead in the queue. */
  | { readonly stage: 'queued'; readonly ahead: number }
  | { readonly stage: 'pulling'; readonly image: string; readonly layers: readonly LayerProgress[] }
  | { readonly stage: 'saving'; readonly bytes: number }
  /** The service reads layers, because the archive depends on their content. */
  | { readonly stage: 'reading'; readonly image: string; readonly layers: readonly LayerProgress[] };

/** The progress of a layer. */
export interface LayerProgress {
  readonly id: string;
  /** In the engine's own words: `Downloading`, `Extracting`. */
  readonly status: string;
  /** Bytes. */
  readonly current?: number;
  /** Bytes. */
  readonly total?: number;
}

/** The metadata of any archive. */
interface ArchiveFacts {
  readonly filename: string;
  /** The media type of a file that is not a tar. Its content is untrusted. */
  readonly contentType?: string | undefined;
  /** The manifest of each image, in the order of the request; its ID if no manifest is known. */
  readonly digests: readonly Digest[];
  /**
   * The digests by which to request the references from the registry, if they differ from those in the archive. They
   * differ for a rebuilt index and for an image that is signed by its index alone.
   */
  readonly upstream?: readonly Digest[];
  /**
   * The platform that was chosen in an index: the requested one or, by default, the server's. It applies to the sent
   * images and to those of a delta's base. Undefined if the archive did not depend on it.
   */
  readonly platform?: Platform | undefined;
  /** True if a layer is compressed with zstd, which Docker before 23.0 cannot load. */
  readonly zstd: boolean;
  /**
   * The time of the registry's last answer for the tag, in milliseconds since the epoch. Set only while the registry
   * does not answer; for several images, the oldest time counts.
   */
  readonly staleSince: number | undefined;
  /** Set if only mirrors were asked for referrers, because the registry was unreachable. */
  readonly partialReferrers?: boolean | undefined;
  /** The layers that a delta omits. */
  readonly omitted?: Omission | undefined;
}

/** The omitted layers of a delta, and the images that have them. */
export interface Omission {
  readonly layers: readonly Descriptor[];
  /** Bytes of the full archive, without omissions. */
  readonly fullSize: number;
  /** The current digests of the images that the receiver has, in the order of the request. */
  readonly held: readonly Digest[];
  /** How many layer digests in the request match no layer of the archive. */
  readonly unknown: number;
  /** The images that lack, in the archive, the tag by which they were requested. */
  readonly untagged: readonly UntaggedImage[];
}

/**
 * An image that a delta names by digest alone, because `have` does not prove that the receiver has the omitted layers.
 * A content store such as containerd's would move the tag to an incomplete image.
 */
export interface UntaggedImage {
  /** The requested reference, with its tag. */
  readonly reference: Reference;
  /** The digest of its entry in index.json, by which the archive names the image. */
  readonly digest: Digest;
  /** The image ID in Docker's graph drivers; undefined for several platforms, which have several IDs. */
  readonly config: Digest | undefined;
  /** The platform of an image, or the distinct platforms that an index states. */
  readonly platforms: readonly StatedPlatform[];
}

/** An image of an archive, with access to its layers. */
export interface OpenedImage extends Pick<ArchiveImage, 'reference' | 'config' | 'layers'> {
  readonly configBytes: Uint8Array;
  /** The digests of the unpacked layers; undefined for values that are not text. */
  readonly diffIds: readonly (string | undefined)[];
  readonly blobs: BlobReader;
}

/** A layer in an archive. */
export interface PlacedLayer extends Pick<Descriptor, 'digest' | 'size'> {
  /** The position of its first byte in the file. */
  readonly offset: number;
}

/** A tar file whose bytes are determined, even before the first one is fetched. */
export interface Archive extends ArchiveFacts {
  /** Bytes. */
  readonly size: number;
  /** A strong validator, quotes included. */
  readonly etag: string;
  /** The layers in the file, in its order; absent if they are unpacked or unknown. */
  readonly layers?: readonly PlacedLayer[] | undefined;
  /** The images, if the source can read their layers and the archive is for one platform. */
  readonly images?: readonly OpenedImage[] | undefined;
  /**
   * Streams the file or a range of it. The stream ends after exactly those bytes or fails; destroying it, or aborting
   * the signal, ends all upstream work.
   *
   * @param onFetched as in {@link Demand}
   */
  read(range: ByteRange | undefined, signal: AbortSignal, onFetched?: Demand['onFetched']): Readable;
}

/** A tar file that is built while it is sent. Its length is unknown, and ranges of it are not available. */
export interface LiveArchive extends ArchiveFacts {
  readonly size: undefined;
  /**
   * Starts to create the file. The stream ends after the whole file or fails; destroying it, or aborting the signal,
   * ends the work.
   *
   * @param onFetched as in {@link Demand}
   * @throws ServiceError the reason why it cannot be created
   */
  start(signal: AbortSignal, onFetched?: Demand['onFetched']): Promise<Readable>;
}

/** The properties by which all parts of the service handle a source, instead of by its name. */
export interface SourceTraits {
  /** The formats of its archives, the default first. */
  readonly formats: readonly ArchiveFormat[];
  /** True if `open` prepares the whole archive: HEAD then costs as much as GET, and its progress can be watched. */
  readonly preparesArchives: boolean;
  /** True if each service sends the same bytes for the same digests. */
  readonly isReproducible: boolean;
}

/** A source of images. */
export interface ImageSource<Kind extends Archive | LiveArchive = Archive | LiveArchive> {
  readonly traits: SourceTraits;
  /**
   * Finds the images and fixes the archive.
   *
   * @param signal aborts when the request ends for any reason
   * @throws ServiceError explains why the archive is not available
   */
  open(request: ArchiveRequest, signal: AbortSignal): Promise<Kind>;
}

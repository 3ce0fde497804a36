import type { ArchiveFormat } from '../archive/format.ts';
import type { ConfigSummary } from '../oci/config-summary.ts';
import type { Digest } from '../oci/digest.ts';
import type { Platform } from '../oci/platform.ts';
import type { Reference, Repository } from '../oci/reference.ts';
import type { ReferrerKind } from '../oci/referrer-kind.ts';
import type { ClientCredential } from '../registry/client-credential.ts';
import type { TagList } from '../registry/tag-list.ts';
import type { SignatureDetails } from './signatures/image-signatures.ts';

/** A question about an image before its download. */
export interface DetailsRequest {
  readonly reference: Reference;
  /** If absent, the server's default applies, or the exact manifest that a digest names. */
  readonly platform: Platform | undefined;
  readonly format: ArchiveFormat;
  /** As in an archive's request. */
  readonly isFormatOpen?: boolean | undefined;
  /** As in an archive's request. */
  readonly onCostly?: (() => Promise<void>) | undefined;
  /** As in an archive's request. */
  readonly client?: string | undefined;
  /** As in an archive's request. */
  readonly credential?: ClientCredential | undefined;
}

/** A file of an artifact. */
export interface FileDetails {
  /** The safe name under which it is sent. */
  readonly name: string;
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

/** The description of an image without its layers, or of another artifact. */
export interface ImageDetails {
  readonly kind: 'image' | 'artifact';
  /** The format of the file that is described. */
  readonly format: ArchiveFormat;
  /** Set for an artifact whose publisher states its type. */
  readonly artifactType?: string | undefined;
  /** For an artifact. */
  readonly files?: readonly FileDetails[] | undefined;
  /** The digest of the image's manifest, or the image ID if its manifest is unknown. */
  readonly digest: Digest | undefined;
  /** The digest of the index, if the reference points to one. */
  readonly indexDigest: Digest | undefined;
  /** Undefined for an artifact without platforms. */
  readonly platform: string | undefined;
  /** All platforms in the order of the index, without attestations. */
  readonly platforms: readonly string[];
  readonly filename: string;
  /** Bytes of the archive and its strong validator; undefined if they are unknown until the archive is made. */
  readonly size: number | undefined;
  readonly etag: string | undefined;
  /** The layers from the base upwards with their compressed sizes; undefined if only an engine knows them. */
  readonly layers: readonly { readonly digest: Digest; readonly size: number }[] | undefined;
  readonly created: Date | undefined;
  readonly config: ConfigSummary;
  readonly zstd: boolean;
  readonly signature: SignatureDetails;
  /** As in an archive. */
  readonly staleSince: number | undefined;
}

/** An artifact that refers to an image. */
export interface ReferrerDetails {
  readonly kinds: readonly ReferrerKind[];
  /** The type that its publisher states. */
  readonly artifactType: string | undefined;
  readonly digest: Digest;
  /** Bytes of its manifest. */
  readonly size: number;
  /** The manifest or index that it refers to. */
  readonly subject: Digest;
  readonly annotations: Readonly<Record<string, string>>;
}

/** The referrers of an image. */
export interface ReferrerList {
  readonly referrers: readonly ReferrerDetails[];
  /** False if there are more, or if only mirrors could be asked. */
  readonly isComplete: boolean;
}

/** Lists the referrers of an image and of its index. @throws ServiceError as the resolution of an image does */
export type FindReferrersOf = (
  request: Pick<DetailsRequest, 'reference' | 'platform' | 'onCostly' | 'credential'>,
  signal: AbortSignal,
) => Promise<ReferrerList>;

/** Describes images and lists tags. */
export interface ImageInspector {
  /** Describes one image. @throws ServiceError explains why an archive is not available */
  describe(request: DetailsRequest, signal: AbortSignal): Promise<ImageDetails>;
  /**
   * Lists the tags of a repository, newest version first.
   *
   * @param onCostly as in an archive's request
   * @param credential as in an archive's request
   * @throws ServiceError
   */
  tags(
    repository: Repository,
    signal: AbortSignal,
    onCostly?: DetailsRequest['onCostly'],
    credential?: ClientCredential,
  ): Promise<TagList>;
}

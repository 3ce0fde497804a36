import type { Readable } from 'node:stream';
import { verifiedReader } from '../blobs/verified-reader.ts';
import { detail } from '../errors/details.ts';
import { isOutage, ServiceError } from '../errors.ts';
import type { Demand } from '../oci/blob-reader.ts';
import type { ByteRange, Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { ManifestLinks } from '../oci/manifest.ts';
import type { Reference } from '../oci/reference.ts';
import type { DescribedManifest, DescribingClient, FetchedManifest } from '../registry/client.ts';
import type { ClientCredential } from '../registry/client-credential.ts';
import type { Documents } from '../sources/documents.ts';
import type { InlineMemory } from '../sources/registry/inline-memory.ts';
import { linksOf, type ManifestGate, type Passage } from './manifest-gate.ts';
import { indexOf, readReferrers } from './manifest-referrers.ts';
import type { Content, RepositoryContents } from './repository-contents.ts';

/** Reads manifests and blobs for daemons, byte for byte as in their registries. */
export interface PullSource {
  /**
   * Describes the manifest that a reference names.
   *
   * @throws ServiceError `image-not-found`, `signature-required`, `signature-invalid`, or an error of the upstream
   */
  describe(reference: Reference, request: PullRequest): Promise<DescribedManifest>;
  /**
   * Fetches the manifest that a reference names, which counts toward the memory of the client until the request ends.
   *
   * @throws ServiceError as {@link PullSource.describe} does, or `overloaded`
   */
  manifest(reference: Reference, request: PullRequest): Promise<FetchedManifest>;
  /** Finds a blob that belongs to a repository. @throws ServiceError `layer-unavailable`, or the upstream's trouble */
  blob(repository: Reference, digest: Digest, request: PullRequest): Promise<PulledBlob>;
  /**
   * Lists the referrers of a manifest as an index, which counts like a manifest.
   *
   * @param artifactTypes the types of the listed referrers, empty for those without a type; all types if undefined
   * @throws ServiceError as {@link PullSource.manifest} does
   */
  referrers(
    repository: Reference,
    digest: Digest,
    artifactTypes: readonly string[] | undefined,
    request: PullRequest,
  ): Promise<PulledReferrers>;
}

/** A list of referrers that may be sent. */
export interface PulledReferrers {
  readonly index: Uint8Array;
  /** False if the registry is unavailable. The index is then empty. */
  readonly isKnown: boolean;
}

/** The request that a response is for. */
export interface PullRequest {
  /** Aborts when the request ends for any reason. */
  readonly signal: AbortSignal;
  /** The client, whose share of the memory for metadata is limited. */
  readonly client: string;
  /** The credentials of the client; absent for what the service itself may read. */
  readonly credential?: ClientCredential | undefined;
  /** Takes a download slot. Called before the request sends many requests upstream; throws if the client has no slot left. */
  onCostly(): Promise<void>;
}

/** A blob that may be sent. */
export interface PulledBlob {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /**
   * Reads the blob as {@link BlobReader.read} does.
   *
   * @throws ServiceError `layer-unavailable`, `size-mismatch`, or an error of the upstream
   */
  read(range: ByteRange | undefined, signal: AbortSignal, onFetched?: Demand['onFetched']): Promise<Readable>;
}

export interface PullSourceOptions {
  readonly client: DescribingClient;
  readonly gate: ManifestGate;
  readonly contents: RepositoryContents;
  readonly documents: Documents;
  readonly inline: InlineMemory;
  /** Maximum bytes of an image. */
  readonly maxSize: number;
}

/** Milliseconds that a registry may take to list the referrers of a cached manifest. */
const PATIENCE_MS = 5_000;

export function createPullSource({
  client,
  gate,
  contents,
  documents,
  inline,
  maxSize,
}: PullSourceOptions): PullSource {
  /** Records the contents that an allowed manifest names, so that they are allowed, too. */
  const remember = async (
    reference: Reference,
    passage: Passage,
    links: ManifestLinks | undefined,
  ): Promise<void> => {
    const place = gate.placeOf(reference);
    if (links?.kind === 'manifest') await contents.add(place, 'blob', [links.config, ...links.layers]);
    else if (links !== undefined && passage === 'signed')
      await contents.add(place, 'manifest', links.manifests);
  };

  const find = async (repository: Reference, digest: Digest, signal: AbortSignal): Promise<Content> => {
    const place = gate.placeOf(repository);
    const known = await contents.find(place, 'blob', digest);
    if (known !== undefined) return known;
    // The registry does not tell which manifest names the blob, so its signature is unknown.
    if (place.signers !== '') throw unknownBlob(repository, digest, 'manifest-first');
    const found = await client.findBlob(repository, digest, signal);
    if (found === undefined) throw unknownBlob(repository, digest, 'digest-check');
    if (found.size === undefined)
      throw new ServiceError(
        'registry-failed',
        detail('blob-size-unknown', { host: repository.domain, digest }),
      );
    return { digest, size: found.size, mediaType: '' };
  };

  return {
    async describe(reference, { signal }) {
      const found = await client.describe(reference, targetOf(reference), signal);
      const load = () => client.manifest(reference, found.digest, signal);
      await gate.check(reference, found.digest, load, signal);
      return found;
    },
    async manifest(reference, { signal, client: who }) {
      const found = await client.manifest(reference, targetOf(reference), signal);
      inline.begin(signal, who).hold(found.bytes.length);
      const passage = await gate.check(reference, found.digest, async () => found, signal);
      const links = linksOf(documents, found);
      if (links?.kind === 'manifest') requireSize([links.config, ...links.layers], maxSize);
      await remember(reference, passage, links);
      return found;
    },
    async blob(repository, digest, { signal }) {
      const blob: Descriptor = await find(repository, digest, signal);
      requireSize([blob], maxSize);
      const reader = client.blobs(repository);
      const isSigned = gate.placeOf(repository).signers !== '';
      const { read } = isSigned ? verifiedReader(reader) : reader;
      return {
        digest,
        size: blob.size,
        read: (range, ended, onFetched) => read(blob, range, ended, onFetched),
      };
    },
    async referrers(repository, digest, artifactTypes, { signal, client: who }) {
      await gate.check(repository, digest, () => client.manifest(repository, digest, signal), signal);
      const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
      const reading = readReferrers(client, repository, digest, artifactTypes, patience);
      const listed = await reading.catch(async (error: unknown) => {
        signal.throwIfAborted();
        if (!isOutage(error) && !patience.aborted) throw error;
        // Docker 29 requests referrers in each pull, and otherwise could not pull cached images during an outage.
        await client.describe(repository, digest, signal);
        return undefined;
      });
      const index = listed ?? indexOf([]);
      inline.begin(signal, who).hold(index.length);
      return { index, isKnown: listed !== undefined };
    },
  };
}

function targetOf({ digest, tag = 'latest' }: Reference): string {
  return digest ?? tag;
}

/** @throws ServiceError `image-too-large` */
function requireSize(blobs: readonly Pick<Descriptor, 'size'>[], maxSize: number): void {
  const size = blobs.reduce((sum, blob) => sum + blob.size, 0);
  if (size <= maxSize) return;
  throw new ServiceError('image-too-large', detail('image-large', { size, limit: maxSize }));
}

function unknownBlob(
  { name }: Reference,
  digest: Digest,
  advice: 'manifest-first' | 'digest-check',
): ServiceError {
  return new ServiceError('layer-unavailable', [
    detail('repository-lacks-blob', { repository: name, digest }),
    detail(advice, {}),
  ]);
}

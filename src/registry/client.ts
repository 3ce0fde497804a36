import { CatalogueError } from '../errors.ts';
import {
  ANYONE,
  drain,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  readBody,
} from '../net/http-client.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Digest, digestHash, finishDigest, isDigest, sha256 } from '../oci/digest.ts';
import { isForeignLayer, MEDIA_TYPES } from '../oci/manifest.ts';
import type { Repository } from '../oci/reference.ts';
import type { PaceLimits } from '../pace.ts';
import { requestAuthorized } from './authorized-request.ts';
import type { RegistryAuthorizer } from './authorizer.ts';
import { type BlobHost, type OpenRange, streamBlob } from './blob-stream.ts';
import { listReferrers } from './referrer-list.ts';
import { missingOrPrivate, statusError, UnknownTagError } from './status-error.ts';
import { listTags, type TagList } from './tag-list.ts';

/** A manifest as a registry served it, its digest verified. */
export interface FetchedManifest {
  readonly bytes: Uint8Array;
  readonly digest: Digest;
  readonly contentType: string | undefined;
  /**
   * Set where the registry could not be asked: when it last said that the tag points here, in milliseconds since the
   * epoch.
   */
  readonly staleSince?: number;
}

/**
 * Reads from registries that speak the distribution specification.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md
 */
export interface RegistryClient {
  /**
   * Fetches the manifest or index behind a tag or a digest.
   *
   * @throws CatalogueError `image-not-found`, `content-mismatch`, or what the upstream's trouble is
   */
  manifest(repository: Repository, reference: string, signal: AbortSignal): Promise<FetchedManifest>;
  /**
   * Asks what a tag points at, which fetches nothing; undefined where the registry does not say.
   *
   * @throws CatalogueError as {@link RegistryClient.manifest} does
   */
  resolveTag(repository: Repository, tag: string, signal: AbortSignal): Promise<Digest | undefined>;
  /** Lists the tags of a repository. @throws CatalogueError as {@link RegistryClient.manifest} does */
  tags(repository: Repository, signal: AbortSignal): Promise<TagList>;
  /** Tells whether the registry itself has a blob. */
  hasBlob(repository: Repository, blob: Descriptor, signal: AbortSignal): Promise<boolean>;
  /**
   * Lists what refers to a manifest, such as signatures, as an index; undefined where the registry has no such list.
   *
   * @throws CatalogueError what the upstream's trouble is
   * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
   */
  referrers(
    repository: Repository,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<FetchedManifest | undefined>;
  /** Reads blobs of one repository: verified, resumed where the upstream breaks off. */
  blobs(repository: Repository): BlobReader;
}

/** A registry client that speaks to hosts itself. */
export interface DirectClient extends RegistryClient {
  /** Whom it reads a blob from, for whoever has others to ask as well. */
  blobHost(repository: Repository, blob: Descriptor): BlobHost;
}

export interface RegistryClientOptions {
  readonly http: HttpClient;
  readonly authorizer: RegistryAuthorizer;
  /** Registries that are spoken to by plain HTTP. */
  readonly insecure: ReadonlySet<string>;
  /** Where the API of a host is that stands in for registries; by the registry's name where absent. */
  readonly api?: URL;
  /** How slowly blobs may come; {@link SLOWEST_REGISTRY} where absent. */
  readonly slowest?: PaceLimits;
  /** Milliseconds in which a manifest must be there, whole; 60 000 where absent. */
  readonly metadataTimeout?: number;
  /** How often in a row a blob is asked for again while no byte of it comes; 4 where absent. */
  readonly blobRetries?: number;
}

const MANIFEST_LIMIT = 4 * 1024 * 1024;
const METADATA_TIMEOUT_MS = 60_000;
const ACCEPT_MANIFESTS = Object.values(MEDIA_TYPES).join(', ');

export function createRegistryClient({
  http,
  authorizer,
  insecure,
  api,
  slowest,
  metadataTimeout = METADATA_TIMEOUT_MS,
  blobRetries,
}: RegistryClientOptions): DirectClient {
  const soon = (signal: AbortSignal): AbortSignal =>
    AbortSignal.any([signal, AbortSignal.timeout(metadataTimeout)]);

  const send = async (
    repository: Repository,
    resource: string,
    request: HttpRequest,
    signal: AbortSignal,
  ): Promise<HttpResponse> => {
    const root = api?.href.replace(/\/$/, '') ?? `${registryOrigin(repository.domain, insecure)}/v2`;
    const url = new URL(`${root}/${repository.path}/${resource}`);
    if (repository.namespace !== undefined) url.searchParams.set('ns', repository.namespace);
    return requestAuthorized({ http, authorizer }, repository, url, request, signal);
  };

  const openBlob =
    (repository: Repository, blob: Descriptor): OpenRange =>
    async (range, signal) => {
      const isWhole = range.start === 0 && range.end === blob.size;
      const headers = isWhole ? {} : { range: `bytes=${range.start}-${range.end - 1}` };
      const response = await send(repository, `blobs/${blob.digest}`, { headers }, signal);
      if (response.status === 200 || response.status === 206) return response;
      await drain(response);
      if (response.status !== 404) throw statusError(response);
      let failure: unknown = new CatalogueError(
        'layer-unavailable',
        `${repository.domain} does not have the blob ${blob.digest}.`,
      );
      for (const url of isForeignLayer(blob) ? (blob.urls ?? []) : []) {
        if (!URL.canParse(url)) continue;
        try {
          const elsewhere = await http.request(new URL(url), { headers, chosenBy: ANYONE }, signal);
          if (elsewhere.status === 200 || elsewhere.status === 206) return elsewhere;
          await drain(elsewhere);
        } catch (error) {
          signal.throwIfAborted();
          failure = error;
        }
      }
      throw failure;
    };

  const blobHost = (repository: Repository, blob: Descriptor): BlobHost => ({
    open: openBlob(repository, blob),
    retries: blobRetries,
    slowest,
  });

  return {
    async manifest(repository, reference, signal) {
      const headers = { accept: ACCEPT_MANIFESTS };
      const response = await send(repository, `manifests/${reference}`, { headers }, soon(signal));
      if (response.status !== 200) {
        await drain(response);
        throw manifestError(response, repository, reference);
      }
      const bytes = await readBody(response, MANIFEST_LIMIT);
      const stated = response.header('docker-content-digest');
      for (const expected of [reference, stated].filter(isDigest)) verifyManifest(bytes, expected);
      return {
        bytes,
        digest: isDigest(reference) ? reference : sha256(bytes),
        contentType: response.header('content-type'),
      };
    },

    async resolveTag(repository, tag, signal) {
      const request = { method: 'HEAD', headers: { accept: ACCEPT_MANIFESTS } } as const;
      const response = await send(repository, `manifests/${tag}`, request, soon(signal));
      await drain(response);
      if (response.status === 405) return undefined;
      if (response.status !== 200) throw manifestError(response, repository, tag);
      const digest = response.header('docker-content-digest');
      return isDigest(digest) ? digest : undefined;
    },

    tags: (repository, signal) =>
      listTags(repository, (query) => send(repository, `tags/list${query}`, {}, soon(signal))),

    async hasBlob(repository, blob, signal) {
      const response = await send(repository, `blobs/${blob.digest}`, { method: 'HEAD' }, soon(signal));
      await drain(response);
      if (response.status !== 200 && response.status !== 404) throw statusError(response);
      return response.status === 200;
    },

    async referrers(repository, digest, signal) {
      const headers = { accept: MEDIA_TYPES.ociIndex };
      const bytes = await listReferrers(repository, digest, (query) =>
        send(repository, `referrers/${digest}${query}`, { headers }, soon(signal)),
      );
      return bytes && { bytes, digest: sha256(bytes), contentType: MEDIA_TYPES.ociIndex };
    },

    blobs: (repository) => ({
      read: async (blob, range = { start: 0, end: blob.size }, signal) =>
        streamBlob([blobHost(repository, blob)], blob, range, signal),
    }),
    blobHost,
  };
}

/** Where a registry's API is: Docker Hub's is not at the name that its images have. */
export function registryOrigin(domain: string, insecure: ReadonlySet<string>): string {
  if (domain === 'docker.io') return 'https://registry-1.docker.io';
  return new URL(`${insecure.has(domain) ? 'http' : 'https'}://${domain}`).origin;
}

function manifestError(response: HttpResponse, repository: Repository, reference: string): CatalogueError {
  if (response.status === 403) return missingOrPrivate(repository);
  if (response.status !== 404) return statusError(response);
  // Docker Hub answers 401 for a repository that is missing or private, and 404 for a tag alone.
  if (!isDigest(reference)) return new UnknownTagError(repository, reference);
  const image = `${repository.domain}/${repository.path}@${reference}`;
  return new CatalogueError('image-not-found', `The image ${image} does not exist.`);
}

function verifyManifest(bytes: Uint8Array, expected: Digest): void {
  if (finishDigest(digestHash(expected).update(bytes), expected) !== expected) {
    throw new CatalogueError(
      'content-mismatch',
      `The manifest that the registry sent has not the digest ${expected}.`,
    );
  }
}

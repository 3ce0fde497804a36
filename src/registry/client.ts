import { Readable } from 'node:stream';
import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import { drain, readBody } from '../net/body.ts';
import { ANYONE, type HttpClient, type HttpRequest, type HttpResponse } from '../net/http.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { ByteRange, Descriptor } from '../oci/descriptor.ts';
import { type Digest, digestHash, finishDigest, isDigest, sha256 } from '../oci/digest.ts';
import { isForeignLayer, MEDIA_TYPES } from '../oci/manifest.ts';
import type { Repository } from '../oci/reference.ts';
import { registryOrigin } from '../oci/registry-host.ts';
import { createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';
import type { MinimumRateLimits } from '../util/minimum-rate.ts';
import { requestAuthorized } from './authorized-request.ts';
import type { RegistryAuthorizer } from './authorizer.ts';
import { type BlobHost, checkSize, type OpenRange, streamBlob } from './blob-stream.ts';
import { listReferrers } from './list-referrers.ts';
import { patiently, type Retry, retrying, type Tries } from './retry.ts';
import {
  isTransient,
  isVerdict,
  missingOrPrivate,
  statusError,
  UnknownManifestError,
  UnknownTagError,
} from './status-error.ts';
import { listTags, type TagList } from './tag-list.ts';
import { createWrongSizes } from './wrong-sizes.ts';

/** A manifest as a registry served it, its digest verified. */
export interface FetchedManifest {
  readonly bytes: Uint8Array;
  readonly digest: Digest;
  readonly contentType: string | undefined;
  /**
   * The time at which the registry last confirmed the tag, in milliseconds since the epoch. Set only if it cannot be
   * reached now.
   */
  readonly staleSince?: number;
}

/** The facts in the response to a HEAD of a manifest. */
export interface ManifestHead {
  readonly digest: Digest;
  /** Bytes; undefined if the registry does not state the size. */
  readonly size: number | undefined;
  readonly contentType: string | undefined;
}

/** A blob that a registry has. */
export interface FoundBlob {
  /** Bytes; undefined if the registry does not state the size. */
  readonly size: number | undefined;
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
   * @throws ServiceError `image-not-found`, `content-mismatch`, or an error of the upstream
   */
  manifest(repository: Repository, reference: string, signal: AbortSignal): Promise<FetchedManifest>;
  /**
   * Asks by HEAD for the manifest behind a tag or a digest; undefined if the registry states no digest. Some registries
   * refuse HEAD but answer GET, so a failure does not mean that the manifest is missing.
   *
   * @throws ServiceError as {@link RegistryClient.manifest} does
   */
  head(repository: Repository, reference: string, signal: AbortSignal): Promise<ManifestHead | undefined>;
  /** Lists the tags of a repository. @throws ServiceError as {@link RegistryClient.manifest} does */
  tags(repository: Repository, signal: AbortSignal): Promise<TagList>;
  /** Looks for a blob in a repository; undefined if the registry does not have it there. */
  findBlob(repository: Repository, digest: Digest, signal: AbortSignal): Promise<FoundBlob | undefined>;
  /**
   * Lists the referrers of a manifest, such as signatures, as an index; undefined if the registry has no such list.
   *
   * @throws ServiceError the errors of the upstream
   * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
   */
  referrers(
    repository: Repository,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<FetchedManifest | undefined>;
  /**
   * Refuses blobs whose size differs from their descriptors, as recorded by earlier reads. Checks these again with a
   * request for one byte, because the registry may have recovered. Requests nothing for all other blobs.
   *
   * @throws ServiceError `size-mismatch`
   */
  checkSizes(repository: Repository, blobs: readonly Descriptor[], signal: AbortSignal): Promise<void>;
  /** Returns a reader of the blobs of one repository. It verifies them, and resumes interrupted transfers. */
  blobs(repository: Repository): BlobReader;
}

/** The facts about a manifest without its bytes. */
export interface DescribedManifest extends Pick<FetchedManifest, 'digest' | 'staleSince'> {
  readonly mediaType: string;
  /** Bytes. */
  readonly size: number;
}

/** A registry client that can describe a manifest without fetching it. */
export interface DescribingClient extends RegistryClient {
  /**
   * Describes the manifest behind a tag or a digest, by a HEAD if that is enough, which is not a pull at Docker Hub.
   *
   * @throws ServiceError as {@link RegistryClient.manifest} does
   */
  describe(repository: Repository, reference: string, signal: AbortSignal): Promise<DescribedManifest>;
}

/** A registry client that sends requests itself. */
export interface DirectClient extends RegistryClient {
  /** The hosts of a blob, for callers with further hosts. */
  blobHost(repository: Repository, blob: Descriptor): BlobHost;
}

export interface RegistryClientOptions {
  readonly http: HttpClient;
  readonly authorizer: RegistryAuthorizer;
  /** Registries that are contacted by plain HTTP. */
  readonly insecure: ReadonlySet<string>;
  /** The API's address for a host that replaces registries; derived from the registry's name if absent. */
  readonly api?: URL;
  /** The minimum transfer rate of blobs; {@link SLOWEST_REGISTRY} if absent. */
  readonly slowest?: MinimumRateLimits;
  /** Milliseconds in which a manifest must be received completely; 60,000 if absent. */
  readonly metadataTimeout?: number;
  /** Retries for a manifest, a list of tags, or other metadata, including its token; 2 by default. */
  readonly metadataRetries?: number;
  /** Consecutive retries for a blob without progress; 4 by default. */
  readonly blobRetries?: number;
  /** Called before each request for metadata, including retries and pages of lists. Throws to stop the work. */
  readonly admit?: () => Promise<void>;
  /** The retry policy; defaults to {@link patiently}. */
  readonly retry?: Retry;
  /** A monotonic clock, in milliseconds; that of the process if absent. */
  readonly now?: () => number;
  /** The list of in-memory caches. */
  readonly caches?: MemoryCaches;
}

const MANIFEST_LIMIT = 4 * 1024 * 1024;
/** Maximum bytes of an error response; only a short excerpt is shown. */
const ERROR_LIMIT = 64 * 1024;
const METADATA_RETRIES = 2;
/** Fewer than for GET, because a GET follows a failed HEAD. */
const HEAD_RETRIES = 1;
/** Milliseconds. Short, because a client is waiting for the first byte. */
const LONGEST_METADATA_PAUSE_MS = 5_000;
/** Statuses from servers that cannot send a range. Others send the whole blob with 200. */
const RANGE_REFUSALS: ReadonlySet<number> = new Set([400, 405, 406, 412, 416, 501]);
const METADATA_TIMEOUT_MS = 60_000;
const ACCEPT_MANIFESTS = Object.values(MEDIA_TYPES).join(', ');

export function createRegistryClient({
  http,
  authorizer,
  insecure,
  api,
  slowest,
  metadataTimeout = METADATA_TIMEOUT_MS,
  metadataRetries = METADATA_RETRIES,
  blobRetries,
  admit = async () => {},
  retry = patiently,
  now = () => performance.now(),
  caches = createMemoryCaches(now),
}: RegistryClientOptions): DirectClient {
  const wrongSizes = createWrongSizes(caches);
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

  const tries = (retries = metadataRetries): Tries => {
    const all = retry({ retries, longestPause: LONGEST_METADATA_PAUSE_MS });
    return {
      ...all,
      // Don't retry a connect timeout: the kernel has already sent several SYNs, and a client waits for the first byte.
      next: (error, ...rest) => (isConnectTimeout(error) ? Promise.reject(error) : all.next(error, ...rest)),
    };
  };

  /** Sends a request for metadata and reads the whole response, so that a truncated response is retried, too. */
  const fetchWhole = async (
    repository: Repository,
    resource: string,
    request: HttpRequest,
    signal: AbortSignal,
    budget = tries(),
  ): Promise<HttpResponse> => {
    const deadline = soon(signal);
    const work = async (): Promise<HttpResponse> => {
      await admit();
      const response = await send(repository, resource, request, deadline);
      if (isTransient(response.status)) {
        await drain(response);
        throw statusError(response);
      }
      const bytes = await readWhole(response);
      // The body is decompressed already.
      const header: HttpResponse['header'] = (name) =>
        name === 'content-encoding' && request.method !== 'HEAD' ? undefined : response.header(name);
      const { holdLarge: _, ...rest } = response;
      return { ...rest, header, body: Readable.from([bytes]) };
    };
    return retrying(budget, work, deadline);
  };

  const headTries = (): Tries => tries(Math.min(HEAD_RETRIES, metadataRetries));

  /** Checks a blob by GET, for registries that refuse HEAD or redirect it to a URL that is signed for GET only. */
  const findByFirstByte = (
    repository: Repository,
    resource: string,
    signal: AbortSignal,
  ): Promise<FoundBlob | undefined> => {
    const deadline = soon(signal);
    const work = async (): Promise<FoundBlob | undefined> => {
      await admit();
      const response = await send(repository, resource, { headers: { range: 'bytes=0-0' } }, deadline);
      response.body.destroy();
      // An empty blob has no first byte.
      if ([200, 206, 416].includes(response.status)) return { size: sizeOf(response) };
      if (response.status === 404) return undefined;
      throw statusError(response);
    };
    return retrying(tries(), work, deadline);
  };

  const openBlob = (repository: Repository, blob: Descriptor): OpenRange => {
    let takesRanges = true;
    /**
     * Requests a range. If the server refuses ranges, requests the whole blob; the reader skips the bytes before the
     * range.
     */
    const ask = async (
      range: ByteRange,
      get: (headers: Record<string, string>) => Promise<HttpResponse>,
    ): Promise<HttpResponse> => {
      const isWhole = range.start === 0 && range.end === blob.size;
      if (isWhole || !takesRanges) return get({});
      const response = await get({ range: `bytes=${range.start}-${range.end - 1}` });
      if (!RANGE_REFUSALS.has(response.status)) return response;
      takesRanges = false;
      await drain(response);
      return get({});
    };

    return async (range, signal) => {
      const response = await ask(range, (headers) =>
        send(repository, `blobs/${blob.digest}`, { headers }, signal),
      );
      if (response.status === 200 || response.status === 206) return response;
      await drain(response);
      if (response.status !== 404) throw statusError(response);
      let failure: unknown = new ServiceError(
        'layer-unavailable',
        detail('blob-missing', { host: repository.domain, digest: blob.digest }),
      );
      for (const url of isForeignLayer(blob) ? (blob.urls ?? []) : []) {
        if (!URL.canParse(url)) continue;
        try {
          const elsewhere = await ask(range, (headers) =>
            http.request(new URL(url), { headers, chosenBy: ANYONE }, signal),
          );
          if (elsewhere.status === 200 || elsewhere.status === 206) return elsewhere;
          await drain(elsewhere);
        } catch (error) {
          signal.throwIfAborted();
          failure = error;
        }
      }
      throw failure;
    };
  };

  const blobHost = (repository: Repository, blob: Descriptor): BlobHost => ({
    open: openBlob(repository, blob),
    retries: blobRetries,
    retry,
    slowest,
    failed: (error) => wrongSizes.note(repository.domain, blob, error),
  });

  return {
    async manifest(repository, reference, signal) {
      const headers = { accept: ACCEPT_MANIFESTS };
      const response = await fetchWhole(repository, `manifests/${reference}`, { headers }, signal);
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

    async head(repository, reference, signal) {
      const request = { method: 'HEAD', headers: { accept: ACCEPT_MANIFESTS } } as const;
      const response = await fetchWhole(repository, `manifests/${reference}`, request, signal, headTries());
      if (response.status !== 200) throw manifestError(response, repository, reference);
      const digest = response.header('docker-content-digest');
      if (!isDigest(digest)) return undefined;
      return { digest, size: sizeOf(response), contentType: response.header('content-type') };
    },

    tags(repository, signal) {
      const budget = tries();
      return listTags(repository, (query) => fetchWhole(repository, `tags/list${query}`, {}, signal, budget));
    },

    async findBlob(repository, digest, signal) {
      const resource = `blobs/${digest}`;
      const head = await fetchWhole(repository, resource, { method: 'HEAD' }, signal, headTries()).catch(
        (error: unknown) => {
          if (isVerdict(error)) throw error;
        },
      );
      if (head?.status === 404) return undefined;
      if (head?.status === 200) return { size: sizeOf(head) };
      return findByFirstByte(repository, resource, signal);
    },

    async referrers(repository, digest, signal) {
      const headers = { accept: MEDIA_TYPES.ociIndex };
      const budget = tries();
      const bytes = await listReferrers(repository, digest, (query) =>
        fetchWhole(repository, `referrers/${digest}${query}`, { headers }, signal, budget),
      );
      return bytes && { bytes, digest: sha256(bytes), contentType: MEDIA_TYPES.ociIndex };
    },

    async checkSizes(repository, blobs, signal) {
      const doubtful = blobs.find((blob) => wrongSizes.has(repository.domain, blob));
      if (doubtful === undefined) return;
      try {
        checkSize(await openBlob(repository, doubtful)({ start: 0, end: 1 }, soon(signal)), doubtful);
        wrongSizes.forget(repository.domain, doubtful);
      } catch (error) {
        signal.throwIfAborted();
        // Any other failure occurs again during the read, which reports it.
        if (error instanceof ServiceError && error.code === 'size-mismatch') throw error;
      }
    },

    blobs: (repository) => ({
      read: async (blob, range = { start: 0, end: blob.size }, signal) =>
        streamBlob([blobHost(repository, blob)], blob, range, signal),
      readPart: (blob, range, signal) => streamBlob([blobHost(repository, blob)], blob, range, signal, true),
    }),
    blobHost,
  };
}

/** Returns the size of the whole content that a response states; undefined for a compressed response. */
function sizeOf(response: HttpResponse): number | undefined {
  const { status, header } = response;
  if ((header('content-encoding') ?? 'identity') !== 'identity') return undefined;
  const text = status === 200 ? header('content-length') : header('content-range')?.split('/')[1];
  const size = /^\s*\d+\s*$/.test(text ?? '') ? Number(text) : undefined;
  return Number.isSafeInteger(size) ? size : undefined;
}

/** Reads the body of a response. Returns an empty body for an error response that cannot be read. */
async function readWhole(response: HttpResponse): Promise<Buffer> {
  if (response.status === 200) return readBody(response, MANIFEST_LIMIT);
  return readBody(response, ERROR_LIMIT).catch(() => Buffer.alloc(0));
}

function manifestError(response: HttpResponse, repository: Repository, reference: string): ServiceError {
  if (response.status === 403) return missingOrPrivate(repository);
  if (response.status !== 404) return statusError(response);
  // Docker Hub answers 401 for a missing or private repository, and 404 only for a missing tag.
  if (!isDigest(reference)) return new UnknownTagError(repository, reference);
  return new UnknownManifestError(`${repository.domain}/${repository.path}@${reference}`);
}

function isConnectTimeout(error: unknown): boolean {
  return error instanceof ServiceError && error.isUnreachable && error.code === 'registry-timeout';
}

function verifyManifest(bytes: Uint8Array, expected: Digest): void {
  if (finishDigest(digestHash(expected).update(bytes), expected) !== expected) {
    throw new ServiceError('content-mismatch', detail('manifest-wrong', { digest: expected }));
  }
}

import type { FastifyRequest } from 'fastify';
import { FILE_TYPE } from '../../archive/artifact-file-names.ts';
import { type ArchiveQuery, namedImages } from '../../download/query.ts';
import { archiveWarnings } from '../../download/warnings.ts';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { ByteRange } from '../../oci/descriptor.ts';
import type { Archive, LiveArchive } from '../../sources/image-source.ts';
import { contentDisposition } from '../protocol/content-disposition.ts';
import { evaluatePreconditions, isRangeValid } from '../protocol/preconditions.ts';
import { parseRange } from '../protocol/range.ts';

export const ONE_YEAR_S = 31_536_000;

/** The headers of a response, which are computed as a whole and set once. */
export type Headers = Readonly<Record<string, string | number | string[]>>;

/** The described file: an archive, a part of it, or a text about it. */
export type Described = Pick<
  Archive | LiveArchive,
  'filename' | 'digests' | 'platform' | 'zstd' | 'staleSince' | 'omitted' | 'partialReferrers'
> & {
  readonly etag?: string | undefined;
  /** Undefined for a tar file. */
  readonly contentType?: string | undefined;
  /** Undefined if the digests of the images decide. */
  readonly cacheControl?: string | undefined;
};

/** Describes a file of known length. */
export function fileHeaders(
  file: Described,
  query: Pick<ArchiveQuery, 'references' | 'have' | 'platform' | 'referrers'>,
): Headers {
  const warnings = archiveWarnings(file);
  // Another service may choose another default platform. Tomorrow, more signatures may refer to the same digest.
  const isOpen = query.referrers || (file.platform !== undefined && query.platform === undefined);
  const isPinned = !isOpen && namedImages(query).every(({ digest }) => digest !== undefined);
  const pinnedOrNot = isPinned ? `public, max-age=${ONE_YEAR_S}, immutable` : 'public, no-cache';
  return {
    'content-type': file.contentType ?? 'application/x-tar',
    'content-disposition': contentDisposition(file.filename),
    // An untrusted file must never run as a page of this site, whatever type a browser detects.
    ...(file.contentType === FILE_TYPE && { 'content-security-policy': "sandbox; default-src 'none'" }),
    'accept-ranges': 'bytes',
    ...(file.etag !== undefined && { etag: file.etag }),
    'cache-control': file.cacheControl ?? pinnedOrNot,
    'docker-content-digest': file.digests.join(', '),
    ...(warnings.length > 0 && { 'dockerproxy-notice': warnings.join('; ') }),
  };
}

/** Describes an archive of unknown length, which has neither an ETag nor ranges. */
export function liveHeaders(archive: LiveArchive, query: ArchiveQuery): Headers {
  return { ...fileHeaders(archive, query), 'accept-ranges': 'none', 'cache-control': 'no-store' };
}

/**
 * States the digest of the whole file, also for a range. Clients of metalinks over HTTP know only the older header.
 *
 * @param hash sha256 in hex digits
 * @see https://www.rfc-editor.org/rfc/rfc9530#section-3
 * @see https://www.rfc-editor.org/rfc/rfc6249#section-6
 */
export function digestHeaders(hash: string): Headers {
  const digest = Buffer.from(hash, 'hex').toString('base64');
  return { 'repr-digest': `sha-256=:${digest}:`, digest: `SHA-256=${digest}` };
}

/** States the length and, for a 206, the range. */
export function rangeHeaders(size: number, range: ByteRange | undefined): Headers {
  const { start, end } = range ?? { start: 0, end: size };
  return {
    'content-length': end - start,
    ...(range && { 'content-range': `bytes ${start}-${end - 1}/${size}` }),
  };
}

/**
 * Tells whether a conditional request needs no file.
 *
 * @throws ServiceError `precondition-failed`
 */
export function isNotModified({ headers }: FastifyRequest, etag: string): boolean {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = headers;
  const verdict = evaluatePreconditions({ ifMatch, ifNoneMatch }, etag);
  if (verdict === 'failed') throw new ServiceError('precondition-failed', detail('etag-other', {}));
  return verdict === 'not-modified';
}

/** Refuses a request for a certain version of an archive that has no ETag. @throws ServiceError `precondition-failed` */
export function refuseIfMatch({ headers }: FastifyRequest): void {
  const { 'if-match': ifMatch } = headers;
  if (ifMatch === undefined || ifMatch.trim() === '*') return;
  throw new ServiceError('precondition-failed', detail('etag-missing', {}));
}

/**
 * Returns the requested range of a file; undefined for the whole file.
 *
 * @throws ServiceError `range-not-satisfiable`
 */
export function requestedRange(
  { headers }: FastifyRequest,
  { size, etag }: Pick<Archive, 'size' | 'etag'>,
): ByteRange | undefined {
  const range = isRangeValid(headers['if-range'], etag) ? parseRange(headers.range, size) : undefined;
  if (range !== 'unsatisfiable') return range;
  throw new ServiceError('range-not-satisfiable', detail('range-outside', { size }), {
    headers: { 'content-range': `bytes */${size}` },
  });
}

import type { FastifyReply, FastifyRequest } from 'fastify';
import { type ArchiveQuery, namedImages } from '../../download/query.ts';
import { archiveWarnings } from '../../download/warnings.ts';
import { ServiceError } from '../../errors.ts';
import type { ByteRange } from '../../oci/descriptor.ts';
import type { Archive, LiveArchive } from '../../sources/image-source.ts';
import { evaluatePreconditions, isRangeValid } from '../protocol/preconditions.ts';
import { parseRange } from '../protocol/range.ts';

const ONE_YEAR_S = 31_536_000;

/** What is sent of an archive: itself, a part of it, or a text about it. */
export type Described = Pick<
  Archive | LiveArchive,
  'filename' | 'digests' | 'platform' | 'zstd' | 'staleSince' | 'omitted' | 'partialReferrers'
> & {
  readonly etag?: string | undefined;
  /** Where it is not the archive itself. */
  readonly contentType?: string;
  /** Where its own is not as the digests of the images say. */
  readonly cacheControl?: string | undefined;
};

/** Sets what describes a file and answers a conditional request; true where that was the whole answer. */
export function isSettled(
  request: FastifyRequest,
  reply: FastifyReply,
  file: Described & { readonly etag: string },
  query: ArchiveQuery,
): boolean {
  setFileHeaders(reply, file, query);
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = request.headers;
  const verdict = evaluatePreconditions({ ifMatch, ifNoneMatch }, file.etag);
  if (verdict === 'failed') {
    throw new ServiceError('precondition-failed', 'The archive is not the one that If-Match names.');
  }
  if (verdict === 'not-modified') reply.status(304).send();
  return verdict === 'not-modified';
}

/** Sets what describes an archive that is made as it is sent: there is no length, no ETag, and no part of it. */
export function setLiveHeaders(
  { headers }: FastifyRequest,
  reply: FastifyReply,
  archive: LiveArchive,
  query: ArchiveQuery,
): void {
  const ifMatch = headers['if-match'];
  if (ifMatch !== undefined && ifMatch.trim() !== '*') {
    throw new ServiceError(
      'precondition-failed',
      'The archive is created for each request and has no ETag. Omit If-Match.',
    );
  }
  setFileHeaders(reply, archive, query);
  reply.header('accept-ranges', 'none').header('cache-control', 'no-store');
}

/** Sets the length and, for a 206, the range that is sent; undefined where the whole file is. */
export function setRangeHeaders(
  request: FastifyRequest,
  reply: FastifyReply,
  { size, etag }: Archive,
): ByteRange | undefined {
  const { range: header, 'if-range': ifRange } = request.headers;
  const range = isRangeValid(ifRange, etag) ? parseRange(header, size) : undefined;
  if (range === 'unsatisfiable') {
    throw new ServiceError('range-not-satisfiable', `The archive has ${size} bytes.`, {
      headers: { 'content-range': `bytes */${size}` },
    });
  }
  const { start, end } = range ?? { start: 0, end: size };
  reply.header('content-length', end - start);
  if (range !== undefined) reply.status(206).header('content-range', `bytes ${start}-${end - 1}/${size}`);
  return range;
}

/**
 * Sets the digest of the whole file, whatever part of it is sent; also by the older header, the one that metalinks by
 * HTTP know.
 *
 * @param hash sha256 in hex digits
 * @see https://www.rfc-editor.org/rfc/rfc9530#section-3
 * @see https://www.rfc-editor.org/rfc/rfc6249#section-6
 */
export function setDigestHeader(reply: FastifyReply, hash: string): void {
  const digest = Buffer.from(hash, 'hex').toString('base64');
  reply.headers({ 'repr-digest': `sha-256=:${digest}:`, digest: `SHA-256=${digest}` });
}

function setFileHeaders(reply: FastifyReply, file: Described, query: ArchiveQuery): void {
  const notices = archiveWarnings(file);
  // Of signatures there may be more tomorrow, whatever the digest, and another service may choose for another platform.
  const isOpen = query.referrers || (file.platform !== undefined && query.platform === undefined);
  const isPinned = !isOpen && namedImages(query).every(({ digest }) => digest !== undefined);
  const pinnedOrNot = isPinned ? `public, max-age=${ONE_YEAR_S}, immutable` : 'public, no-cache';
  reply.headers({
    'content-type': file.contentType ?? 'application/x-tar',
    'content-disposition': `attachment; filename="${file.filename}"`,
    'accept-ranges': 'bytes',
    ...(file.etag !== undefined && { etag: file.etag }),
    'cache-control': file.cacheControl ?? pinnedOrNot,
    'docker-content-digest': file.digests.join(', '),
    ...(notices.length > 0 && { 'dockerproxy-notice': notices.join('; ') }),
  });
}

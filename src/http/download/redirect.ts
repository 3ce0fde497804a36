import type { FastifyReply } from 'fastify';
import { digestQuery } from '../../download/pinned-query.ts';
import type { ArchiveQuery, FileKind } from '../../download/query.ts';
import { downloadUrl } from '../../download/url.ts';
import { archiveWarnings } from '../../download/warnings.ts';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { familiarName } from '../../oci/reference.ts';
import type { Archive, LiveArchive } from '../../sources/image-source.ts';

/**
 * Redirects from the name of an image to its URL by digest. All names, tags, and platforms of the image share that URL,
 * and its file never changes, so that caches keep it forever. The target is resolved for each request.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-15.4.8
 */
export function redirectToDigests(
  reply: FastifyReply,
  query: ArchiveQuery,
  target: FileKind,
  archive: Archive | LiveArchive,
): FastifyReply {
  const notices = archiveWarnings(archive);
  const url = downloadUrl({
    ...digestQuery(query, archive, familiarName),
    checksum: target === 'checksum' ? '1' : undefined,
    metalink: target === 'metalink' ? '1' : undefined,
  });
  return reply
    .headers({
      'cache-control': 'public, no-cache',
      'content-length': '0',
      'docker-content-digest': archive.digests.join(', '),
      ...(notices.length > 0 && { 'dockerproxy-notice': notices.join('; ') }),
    })
    .redirect(url, 307);
}

/** An archive of an engine may change, whatever its source. */
export function noDigestUrl(): ServiceError {
  return new ServiceError('parameter-invalid', detail('redirect-engine', {}), { reason: 'No redirect here' });
}

import type { FastifyReply } from 'fastify';
import { digestQuery } from '../../download/pinned-query.ts';
import type { ArchiveQuery, FileKind } from '../../download/query.ts';
import { downloadUrl } from '../../download/url.ts';
import { archiveWarnings } from '../../download/warnings.ts';
import { ServiceError } from '../../errors.ts';
import { familiarName } from '../../oci/reference.ts';
import type { Archive, LiveArchive } from '../../sources/image-source.ts';

/**
 * Leads from what an image is called to what it is: the URL by digest, which is one for all names, tags and platforms
 * that mean it, and whose file never changes, so that caches keep it forever. Where it leads is asked for each time.
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

/** What an engine saves is not the same forever, wherever it was pulled. */
export function noDigestUrl(): ServiceError {
  return new ServiceError(
    'parameter-invalid',
    'The parameter redirect is for services that take images from their registries; this one has an engine.',
    { reason: 'No redirect here' },
  );
}

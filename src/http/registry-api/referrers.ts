import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Digest } from '../../oci/digest.ts';
import { MEDIA_TYPES } from '../../oci/manifest.ts';
import type { Reference } from '../../oci/reference.ts';
import type { PullSource } from '../../pull/pull-source.ts';

/**
 * Lists what refers to a manifest, as an index, filtered by type if the client wants that.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
 */
export async function replyWithReferrers(
  request: FastifyRequest,
  reply: FastifyReply,
  repository: Reference,
  digest: Digest,
  { pulls }: { readonly pulls: PullSource },
  signal: AbortSignal,
): Promise<FastifyReply> {
  const { artifactType } = request.query as { readonly artifactType?: unknown };
  const all = await pulls.referrers(repository, digest, signal);
  const isFiltered = typeof artifactType === 'string' && artifactType !== '';
  const manifests = isFiltered ? all.filter((one) => one.artifactType === artifactType) : all;
  if (isFiltered) reply.header('oci-filters-applied', 'artifactType');
  return reply
    .header('cache-control', 'no-cache')
    .header('content-type', MEDIA_TYPES.ociIndex)
    .send(Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests })));
}

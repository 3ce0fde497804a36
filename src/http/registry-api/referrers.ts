import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Digest } from '../../oci/digest.ts';
import { MEDIA_TYPES } from '../../oci/manifest.ts';
import type { Reference } from '../../oci/reference.ts';
import type { PullRequest, PullSource } from '../../pull/pull-source.ts';
import { sendBytes } from '../protocol/send-bytes.ts';

/** @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#warnings */
const UNKNOWN = '299 - "The registry is unavailable, so the referrers are unknown."';

/**
 * Lists what refers to a manifest, as an index, filtered by type if the client wants that. Containerd repeats the parameter
 * for several types.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
 */
export async function replyWithReferrers(
  request: FastifyRequest,
  reply: FastifyReply,
  repository: Reference,
  digest: Digest,
  { pulls }: { readonly pulls: PullSource },
  pull: PullRequest,
): Promise<FastifyReply> {
  const { artifactType } = request.query as { readonly artifactType?: string | string[] };
  const types = artifactType === undefined ? undefined : [artifactType].flat();
  const { index, isKnown } = await pulls.referrers(repository, digest, types, pull);
  reply.headers({
    'content-type': MEDIA_TYPES.ociIndex,
    'cache-control': 'no-cache',
    ...(!isKnown && { warning: UNKNOWN }),
    ...(types !== undefined && { 'oci-filters-applied': 'artifactType' }),
  });
  return sendBytes(reply, index);
}

import type { FastifyReply, FastifyRequest } from 'fastify';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { Platform } from '../../oci/platform.ts';
import { formatReference, type Reference } from '../../oci/reference.ts';
import { platformManifest } from '../../pull/platform-manifest.ts';
import type { PullRequest, PullSource } from '../../pull/pull-source.ts';
import type { DescribedManifest, FetchedManifest } from '../../registry/client.ts';
import { described } from '../../registry/describing-client.ts';
import { isNotModified, ONE_YEAR_S } from '../download/headers.ts';
import { sendBytes } from '../protocol/send-bytes.ts';
import { negotiate } from './accept.ts';

export interface ManifestOptions {
  readonly pulls: PullSource;
  /** The platform for clients that know no index. */
  readonly defaultPlatform: Platform;
}

/** A manifest to send; without its bytes for HEAD. */
interface Found extends DescribedManifest {
  readonly bytes?: Uint8Array;
}

/**
 * Sends a manifest byte for byte, whatever it is of.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
 */
export async function replyWithManifest(
  request: FastifyRequest,
  reply: FastifyReply,
  reference: Reference,
  options: ManifestOptions,
  pull: PullRequest,
): Promise<FastifyReply> {
  const { mediaType, digest, size, bytes } = await findManifest(request, reference, options, pull);
  const isPinned = reference.digest !== undefined;
  const etag = `"${digest}"`;
  const headers = {
    'content-type': mediaType,
    'docker-content-digest': digest,
    etag,
    // A tag may move, and another Accept header may select another manifest.
    'cache-control': isPinned ? `public, max-age=${ONE_YEAR_S}, immutable` : 'public, no-cache',
    ...(!isPinned && { vary: 'accept' }),
  };
  if (isNotModified(request, etag)) return reply.status(304).headers(headers).send();
  reply.headers(headers);
  return bytes === undefined ? reply.header('content-length', size).send() : sendBytes(reply, bytes);
}

async function findManifest(
  { method, headers: { accept } }: FastifyRequest,
  reference: Reference,
  { pulls, defaultPlatform }: ManifestOptions,
  pull: PullRequest,
): Promise<Found> {
  const choose = ({ mediaType }: Found) => negotiate(accept, mediaType, reference.digest === undefined);
  if (method === 'HEAD') {
    const found = await pulls.describe(reference, pull);
    if (choose(found) !== 'platform') return requireAccepted(reference, found, choose(found) === 'manifest');
  }
  const fetched = await pulls.manifest(reference, pull);
  const found = withBytes(fetched);
  if (choose(found) !== 'platform') return requireAccepted(reference, found, choose(found) === 'manifest');
  return withBytes(await platformManifest(pulls, reference, fetched, defaultPlatform, pull));
}

function withBytes(fetched: FetchedManifest): Found {
  return { ...described(fetched), bytes: fetched.bytes };
}

function requireAccepted(reference: Reference, found: Found, isAccepted: boolean): Found {
  if (isAccepted) return found;
  throw new ServiceError(
    'tag-not-found',
    detail('media-type-refused', { image: formatReference(reference), type: found.mediaType }),
  );
}

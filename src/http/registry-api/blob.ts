import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Digest } from '../../oci/digest.ts';
import { familiarName, type Reference } from '../../oci/reference.ts';
import type { PullRequest, PullSource } from '../../pull/pull-source.ts';
import { isNotModified, ONE_YEAR_S, rangeHeaders, requestedRange } from '../download/headers.ts';
import type { DownloadLimits } from '../download/limits.ts';
import { observeDownload } from '../download/observer.ts';
import { sendStream } from '../download/send-stream.ts';
import type { Drain } from '../listener/drain.ts';
import type { HttpMetrics } from '../protocol/metrics-port.ts';

export interface BlobOptions {
  readonly pulls: PullSource;
  readonly meter: HttpMetrics;
  readonly drain: Drain;
}

/**
 * Sends a blob or a range of it. A missing blob is an error before the headers, because containerd asks another host only
 * then. A later failure closes the connection.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-blobs
 */
export async function replyWithBlob(
  request: FastifyRequest,
  reply: FastifyReply,
  repository: Reference,
  digest: Digest,
  options: BlobOptions,
  allowance: DownloadLimits,
  pull: PullRequest,
): Promise<FastifyReply> {
  const isGet = request.method === 'GET';
  const transfer = { kind: 'pull', image: familiarName(repository) } as const;
  const observer = isGet ? observeDownload(request, reply, transfer, options) : undefined;
  try {
    const { size, read } = await options.pulls.blob(repository, digest, pull);
    const etag = `"${digest}"`;
    const headers = {
      'content-type': 'application/octet-stream',
      'docker-content-digest': digest,
      'accept-ranges': 'bytes',
      'cache-control': `public, max-age=${ONE_YEAR_S}, immutable`,
      etag,
    };
    if (isNotModified(request, etag)) return reply.status(304).headers(headers).send();
    if (!isGet) return reply.headers({ ...headers, 'content-length': size }).send();
    const range = requestedRange(request, { size, etag });
    const sending = await allowance.admit({ size, etag }, range);
    const stream = await read(range, pull.signal, sending.onFetched);
    observer?.begin({ size, digests: [digest], zstd: false, staleSince: undefined }, range, stream);
    await sendStream({ reply, observer }, stream, { ...headers, ...rangeHeaders(size, range) }, sending);
    return reply;
  } catch (error) {
    observer?.fail(error);
    throw error;
  }
}

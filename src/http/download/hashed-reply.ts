import { hash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Partition } from '../../archive/parts.ts';
import type { Checksums } from '../../download/checksums.ts';
import type { HashedFile } from '../../download/hashed-file.ts';
import type { PartHashes } from '../../download/part-hasher.ts';
import type { ArchiveQuery } from '../../download/query.ts';
import type { Archive } from '../../sources/image-source.ts';
import { isSettled } from './headers.ts';
import { keepAlive } from './interim-responses.ts';
import type { DownloadLimits } from './limits.ts';

/** What it takes to answer with a text about an archive. */
export interface HashedRequest {
  readonly query: ArchiveQuery;
  readonly archive: Archive;
  readonly checksums: Checksums;
  readonly limits: DownloadLimits;
  readonly signal: AbortSignal;
}

const BLANK = '0'.repeat(64);

/**
 * Answers with a text that has hashes of an archive in it. What has to be computed counts as the bytes of a download do,
 * since it is read like one; a HEAD computes nothing.
 */
export async function answerHashed(
  request: FastifyRequest,
  reply: FastifyReply,
  file: HashedFile,
  { query, archive, checksums, limits, signal }: HashedRequest,
): Promise<FastifyReply> {
  const { filename, contentType, cacheControl, hashed, render } = file;
  const blank = render(hashed.map(({ partitions }) => partitions.map(blankHashes)));
  // One archive may have several names and addresses, which are in the text.
  const etag = `"s-${hash('sha256', JSON.stringify([archive.etag, blank]))}"`;
  if (isSettled(request, reply, { ...archive, filename, contentType, cacheControl, etag }, query))
    return reply;
  reply.header('accept-ranges', 'none');
  if (request.method === 'HEAD') return reply.header('content-length', Buffer.byteLength(blank)).send();
  const hashes: (readonly PartHashes[])[] = [];
  for (const { archive: one, partitions } of hashed) {
    const known = await Promise.all(partitions.map((partition) => checksums.find(one.etag, partition)));
    const compute = async (): Promise<readonly PartHashes[]> => {
      const { inspect } = await limits.admit({ ...one, etag: `${one.etag} hashed` }, undefined);
      const computed = await keepAlive(reply.raw, checksums.compute(one, partitions, inspect, signal));
      request.log.info({ bytes: one.size }, `The checksum of ${one.filename} was computed`);
      return computed;
    };
    hashes.push(known.every((own) => own !== undefined) ? known : await compute());
  }
  return reply.send(render(hashes));
}

function blankHashes({ count }: Partition): PartHashes {
  return [BLANK, ...Array.from({ length: count - 1 }, () => BLANK)];
}

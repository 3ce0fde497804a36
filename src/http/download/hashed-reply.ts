import { hash } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import type { Partition } from '../../archive/parts.ts';
import type { Checksums } from '../../download/checksums.ts';
import type { HashedFile } from '../../download/hashed-file.ts';
import type { PartHashes } from '../../download/part-hasher.ts';
import type { Archive } from '../../sources/image-source.ts';
import { type Exchange, isGet } from './exchange.ts';
import { fileHeaders, isNotModified } from './headers.ts';
import { withInterimResponses } from './interim-responses.ts';

const BLANK = '0'.repeat(64);

/**
 * Replies with a text that contains hashes of an archive. A hash that has to be computed counts as a download of the
 * archive, whose bytes it reads. HEAD computes nothing.
 */
export async function replyHashed(
  exchange: Exchange,
  archive: Archive,
  file: HashedFile,
  checksums: Checksums,
): Promise<FastifyReply> {
  const { request, reply, query, limits, signal } = exchange;
  const { filename, contentType, cacheControl, hashed, render } = file;
  const blank = render(hashed.map(({ partitions }) => partitions.map(blankHashes)));
  // One archive may have several names and addresses, which are in the text.
  const etag = `"s-${hash('sha256', JSON.stringify([archive.etag, blank]))}"`;
  const headers = fileHeaders({ ...archive, filename, contentType, cacheControl, etag }, query);
  if (isNotModified(request, etag)) return reply.status(304).headers(headers).send();
  const wholeOnly = { ...headers, 'accept-ranges': 'none' };
  if (!isGet(exchange))
    return reply.headers({ ...wholeOnly, 'content-length': Buffer.byteLength(blank) }).send();
  const hashes: (readonly PartHashes[])[] = [];
  for (const { archive: one, partitions } of hashed) {
    const known = await Promise.all(partitions.map((partition) => checksums.find(one.etag, partition)));
    const compute = async (): Promise<readonly PartHashes[]> => {
      const { inspect } = await limits.admit({ ...one, etag: `${one.etag} hashed` }, undefined);
      const computed = await withInterimResponses(
        reply.raw,
        checksums.compute(one, partitions, inspect, signal),
      );
      request.log.info({ bytes: one.size }, `The checksum of ${one.filename} was computed`);
      return computed;
    };
    hashes.push(known.every((own) => own !== undefined) ? known : await compute());
  }
  return reply.headers(wholeOnly).send(render(hashes));
}

function blankHashes({ count }: Partition): PartHashes {
  return [BLANK, ...Array.from({ length: count - 1 }, () => BLANK)];
}

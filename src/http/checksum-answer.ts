import { hash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Partition, partFilename } from '../archive/parts.ts';
import type { Checksums } from '../sources/checksums.ts';
import type { Archive } from '../sources/image-source.ts';
import { isSettled } from './archive-headers.ts';
import type { ArchiveQuery } from './archive-query.ts';
import type { DownloadLimits } from './download-limits.ts';
import { keepAlive } from './keep-alive.ts';

export interface ChecksumRequest {
  readonly query: ArchiveQuery;
  readonly archive: Archive;
  readonly parts: Partition;
  readonly checksums: Checksums;
  readonly limits: DownloadLimits;
  readonly signal: AbortSignal;
}

const HASH_LENGTH = 64;

/**
 * Answers with the checksum of an archive, or of its parts, as `sha256sum -c` reads it. What has to be computed counts as
 * the bytes of a download do, since it is read like one; a HEAD computes nothing.
 *
 * @see https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html
 */
export async function answerChecksum(
  request: FastifyRequest,
  reply: FastifyReply,
  { query, archive, parts, checksums, limits, signal }: ChecksumRequest,
): Promise<FastifyReply> {
  const { name, lines } = checksumFile(query, archive, parts);
  // One archive may have several names, which are in the text.
  const etag = `"s-${hash('sha256', JSON.stringify([archive.etag, parts.partSize, lines]))}"`;
  if (isSettled(request, reply, { ...archive, filename: `${name}.sha256`, etag }, query)) return reply;
  reply.headers({ 'content-type': 'text/plain; charset=utf-8', 'accept-ranges': 'none' });
  if (request.method === 'HEAD') {
    const length = lines.reduce((sum, line) => sum + textOf(line, '').length + HASH_LENGTH, 0);
    return reply.header('content-length', length).send();
  }
  const compute = async (): Promise<readonly string[]> => {
    const { inspect } = await limits.admit({ ...archive, etag }, undefined);
    const computed = await keepAlive(reply.raw, checksums.compute(archive, parts, inspect, signal));
    request.log.info({ bytes: archive.size }, `The checksum of ${archive.filename} was computed`);
    return computed;
  };
  const hashes = (await checksums.find(archive.etag, parts)) ?? (await compute());
  return reply.send(lines.map((line) => textOf(line, hashes[line.number - 1] ?? '')).join(''));
}

/** A file whose checksum is asked for; the first part is 1. */
interface Line {
  readonly filename: string;
  readonly number: number;
}

function checksumFile(
  { parts: asked, savedAs }: ArchiveQuery,
  { filename }: Archive,
  parts: Partition,
): { readonly name: string; readonly lines: readonly Line[] } {
  if (asked === undefined) return { name: filename, lines: [{ filename: savedAs ?? filename, number: 1 }] };
  const line = (number: number): Line => ({ filename: partFilename(filename, number, parts), number });
  if (asked.number !== undefined) {
    const only = line(asked.number);
    return { name: only.filename, lines: [only] };
  }
  return { name: filename, lines: Array.from({ length: parts.count }, (_, at) => line(at + 1)) };
}

function textOf({ filename }: Line, hashOfPart: string): string {
  return `${hashOfPart}  ${filename}\n`;
}

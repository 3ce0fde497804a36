import type { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CatalogueError } from '../../errors.ts';
import type { ByteRange } from '../../oci/descriptor.ts';
import type { Allowlist } from '../../policy/allowlist.ts';
import type { Limits } from '../../policy/limits.ts';
import type { Archive, ImageSource, LiveArchive } from '../../sources/image-source.ts';
import { send } from '../../streams.ts';
import {
  type ArchiveQuery,
  parseArchivePath,
  parseArchiveQuery,
  type QueryString,
} from '../archive-query.ts';
import { downloadLimits, type Sending } from '../download-limits.ts';
import { type DownloadObserver, observeDownload } from '../download-observer.ts';
import { whenGone } from '../gone.ts';
import { keepAlive } from '../keep-alive.ts';
import type { HttpMeter } from '../meter.ts';
import { archiveNotices } from '../notices.ts';
import { evaluatePreconditions, isRangeValid } from '../preconditions.ts';
import { parseRange } from '../range.ts';

export interface DownloadOptions {
  readonly source: ImageSource;
  readonly allowlist: Allowlist;
  readonly limits: Limits;
  /** Whether a source has to make an archive before it knows it, so that a HEAD costs what a GET does. */
  readonly headCosts: boolean;
  readonly meter: HttpMeter;
}

const ONE_YEAR_S = 31_536_000;

/** `GET|HEAD /dl?myimage=REF` and `GET|HEAD /dl/REF.tar`. */
export async function downloadRoutes(
  app: FastifyInstance,
  { source, allowlist, limits, headCosts, meter }: DownloadOptions,
): Promise<void> {
  app.route<{ Querystring: QueryString }>({
    method: ['GET', 'HEAD'],
    url: '/dl',
    handler: (request, reply) => download(request, reply, parseArchiveQuery(request.query)),
  });
  app.route<{ Querystring: QueryString; Params: { '*': string } }>({
    method: ['GET', 'HEAD'],
    url: '/dl/*',
    handler: (request, reply) =>
      download(request, reply, parseArchivePath(request.params['*'], request.query)),
  });

  const download = async (
    request: FastifyRequest,
    reply: FastifyReply,
    query: ArchiveQuery,
  ): Promise<FastifyReply> => {
    const gone = whenGone(reply);
    const contentWanted = request.method === 'GET';
    const observer = contentWanted ? observeDownload(request, reply, query.references, meter) : undefined;
    const allowance = downloadLimits(limits, request, gone);
    try {
      for (const reference of query.references) allowlist.check(reference);
      if (contentWanted || headCosts) await allowance.takeSlot(query);
      const archive = await keepAlive(reply.raw, source.open({ ...query, contentWanted }, gone));
      if (archive.size === undefined) {
        setLiveHeaders(request, reply, archive, query);
        if (!contentWanted) return reply.send();
        const sending = await allowance.admit(archive, undefined);
        const stream = await keepAlive(reply.raw, archive.start(gone));
        observer?.begin(archive, undefined, stream);
        await sendArchive(reply, stream, sending, observer);
        return reply;
      }
      if (isSettled(request, reply, archive, query)) return reply;
      if (!contentWanted) return reply.header('content-length', archive.size).send();
      const range = setRangeHeaders(request, reply, archive);
      const sending = await allowance.admit(archive, range);
      const stream = archive.read(range, gone);
      observer?.begin(archive, range, stream);
      await sendArchive(reply, stream, sending, observer);
      return reply;
    } catch (error) {
      observer?.fail(error);
      throw error;
    }
  };
}

/** Writes the archive past Fastify, so that its buffers can be used again. What fails before the first byte is thrown. */
async function sendArchive(
  reply: FastifyReply,
  stream: Readable,
  { inspect, through }: Sending,
  observer: DownloadObserver | undefined,
): Promise<void> {
  const response = reply.raw;
  response.once('close', () => stream.destroy());
  response.statusCode = reply.statusCode;
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) response.setHeader(name, value);
  }
  const { sink, flushed } = through(response);
  try {
    await send(stream, sink, (chunk) => {
      observer?.sent(chunk.length);
      inspect?.(chunk);
    });
    await flushed();
  } catch (error) {
    // What waits in between must not come after the answer that takes its place.
    if (sink !== response) sink.destroy();
    if (!response.headersSent) throw error;
    // What is broken must look broken: no end, and fewer bytes than announced.
    response.destroy();
    reply.hijack();
    return;
  }
  reply.hijack();
  response.end();
}

/** Sets what describes the archive and answers a conditional request; true where that was the whole answer. */
function isSettled(
  request: FastifyRequest,
  reply: FastifyReply,
  archive: Archive,
  query: ArchiveQuery,
): boolean {
  setArchiveHeaders(reply, archive, query);
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = request.headers;
  const verdict = evaluatePreconditions({ ifMatch, ifNoneMatch }, archive.etag);
  if (verdict === 'failed') {
    throw new CatalogueError('precondition-failed', 'The archive is not the one that If-Match names.');
  }
  if (verdict === 'not-modified') reply.status(304).send();
  return verdict === 'not-modified';
}

/** Sets what describes an archive that is made as it is sent: there is no length, no ETag, and no part of it. */
function setLiveHeaders(
  { headers }: FastifyRequest,
  reply: FastifyReply,
  archive: LiveArchive,
  query: ArchiveQuery,
): void {
  const ifMatch = headers['if-match'];
  if (ifMatch !== undefined && ifMatch.trim() !== '*') {
    throw new CatalogueError('precondition-failed', 'The archive is made anew each time and has no ETag.');
  }
  setArchiveHeaders(reply, archive, query);
  reply.header('accept-ranges', 'none').header('cache-control', 'no-store');
}

/** Sets the length and, for a 206, the range that is sent; undefined where the whole file is. */
function setRangeHeaders(
  request: FastifyRequest,
  reply: FastifyReply,
  { size, etag }: Archive,
): ByteRange | undefined {
  const { range: header, 'if-range': ifRange } = request.headers;
  const range = isRangeValid(ifRange, etag) ? parseRange(header, size) : undefined;
  if (range === 'unsatisfiable') {
    throw new CatalogueError('range-not-satisfiable', `The archive has ${size} bytes.`, {
      headers: { 'content-range': `bytes */${size}` },
    });
  }
  const { start, end } = range ?? { start: 0, end: size };
  reply.header('content-length', end - start);
  if (range !== undefined) reply.status(206).header('content-range', `bytes ${start}-${end - 1}/${size}`);
  return range;
}

function setArchiveHeaders(
  reply: FastifyReply,
  archive: Archive | LiveArchive,
  { references }: ArchiveQuery,
): void {
  const notices = archiveNotices(archive);
  const isPinned = references.every(({ digest }) => digest !== undefined);
  reply.headers({
    'content-type': 'application/x-tar',
    'content-disposition': `attachment; filename="${archive.filename}"`,
    'accept-ranges': 'bytes',
    ...(archive.size !== undefined && { etag: archive.etag }),
    'cache-control': isPinned ? `public, max-age=${ONE_YEAR_S}, immutable` : 'public, no-cache',
    'docker-content-digest': archive.digests.join(', '),
    ...(notices.length > 0 && { 'dockerproxy-notice': notices.join('; ') }),
  });
}

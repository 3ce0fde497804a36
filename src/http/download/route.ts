import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { unparted } from '../../archive/parts.ts';
import { checksumFile } from '../../download/checksum-file.ts';
import type { Checksums } from '../../download/checksums.ts';
import { metalinkFile } from '../../download/metalink-file.ts';
import { type ArchiveQuery, namedImages, parseArchivePath, parseArchiveQuery } from '../../download/query.ts';
import type { QueryString } from '../../download/read-parameters.ts';
import { cutArchive, selectFile, twoFiles, unknownLength } from '../../download/selection.ts';
import type { Limits } from '../../limits/limits.ts';
import { isSeveral } from '../../oci/platform-choice.ts';
import type { Allowlist } from '../../policy/allowlist.ts';
import type { ImageSource } from '../../sources/image-source.ts';
import { send } from '../../util/streams.ts';
import type { Drain } from '../listener/drain.ts';
import { abortOnDisconnect } from '../protocol/client-abort.ts';
import type { HttpMetrics } from '../protocol/metrics-port.ts';
import type { Addresses } from '../protocol/own-address.ts';
import { addressesOf, setLinkHeader } from './file-addresses.ts';
import { answerHashed } from './hashed-reply.ts';
import { isSettled, setDigestHeader, setLiveHeaders, setRangeHeaders } from './headers.ts';
import { keepAlive } from './interim-responses.ts';
import { downloadLimits, type Sending } from './limits.ts';
import { type DownloadObserver, observeDownload } from './observer.ts';
import { noDigestUrl, redirectToDigests } from './redirect.ts';

export interface DownloadOptions {
  readonly source: ImageSource;
  readonly checksums: Checksums;
  readonly allowlist: Allowlist;
  readonly limits: Limits;
  /** Whether a source has to make an archive before it knows it, so that a HEAD costs what a GET does. */
  readonly headCosts: boolean;
  readonly addresses: () => Addresses;
  readonly meter: HttpMetrics;
  readonly drain: Drain;
}

/**
 * `GET|HEAD /dl?myimage=REF`, `GET|HEAD /dl/REF.tar`, for its checksum `GET|HEAD /dl/REF.tar.sha256`, and for its
 * metalink `GET|HEAD /dl/REF.tar.meta4`.
 *
 * @param options.generator what metalinks say that they are made by: `DockerProxy/1.0.0`
 */
export async function downloadRoutes(
  app: FastifyInstance,
  options: DownloadOptions & { readonly generator: string },
): Promise<void> {
  const { source, checksums, allowlist, limits, headCosts, generator } = options;
  app.route<{ Querystring: QueryString }>({
    method: ['GET', 'HEAD'],
    url: '/dl',
    config: { counts: 'requests' },
    handler: (request, reply) => download(request, reply, parseArchiveQuery(request.query)),
  });
  app.route<{ Querystring: QueryString; Params: { '*': string } }>({
    method: ['GET', 'HEAD'],
    url: '/dl/*',
    config: { counts: 'requests' },
    handler: (request, reply) =>
      download(request, reply, parseArchivePath(request.params['*'], request.query)),
  });

  const download = async (
    request: FastifyRequest,
    reply: FastifyReply,
    query: ArchiveQuery,
  ): Promise<FastifyReply> => {
    const gone = abortOnDisconnect(reply);
    const isGet = request.method === 'GET';
    const isAbout = query.checksum || query.metalink;
    const isDownload = isGet && !isAbout && !query.redirect;
    const observer = isDownload ? observeDownload(request, reply, query.references, options) : undefined;
    const allowance = downloadLimits(limits, request, gone);
    try {
      if (query.checksum && query.metalink) throw twoFiles();
      for (const reference of namedImages(query)) allowlist.check(reference);
      if (query.redirect && headCosts) throw noDigestUrl();
      // A request for all platforms costs hundreds of requests to a registry, even for HEAD.
      const isCostly = headCosts || isSeveral(query.platform);
      if (isCostly || (isGet && !query.redirect)) await allowance.takeSlot(query);
      const { client } = allowance;
      const asked = { ...query, client, onCostly: () => allowance.takeSlot(query) };
      if (query.redirect) {
        return redirectToDigests(reply, query, await source.open(asked, gone));
      }
      const opened = await keepAlive(reply.raw, source.open(asked, gone));
      if (opened.size === undefined) {
        if (isAbout || query.parts !== undefined) throw unknownLength();
        setLiveHeaders(request, reply, opened, query);
        // Without a stream, Fastify would state a Content-Length of 0.
        if (!isGet) return reply.send(Readable.from([]));
        const sending = await allowance.admit(opened, undefined);
        const stream = await keepAlive(reply.raw, opened.start(gone));
        observer?.begin(opened, undefined, stream);
        await sendArchive(reply, stream, sending, observer);
        return reply;
      }
      const parts = query.parts === undefined ? unparted(opened.size) : cutArchive(opened.size, query.parts);
      const places = { addresses: options.addresses(), isReproducible: !headCosts };
      const addresses = addressesOf(request, query, opened, places);
      if (isAbout) {
        const file = query.checksum
          ? checksumFile(query, opened, parts)
          : metalinkFile(query, opened, parts, { addresses, generator });
        const hashing = { query, archive: opened, checksums, limits: allowance, signal: gone };
        return await answerHashed(request, reply, file, hashing);
      }
      const archive = selectFile(opened, parts, query.parts);
      setLinkHeader(reply, addresses);
      if (isSettled(request, reply, archive, query)) return reply;
      const ofPart = (await checksums.find(archive.etag, unparted(archive.size)))?.[0];
      const hash =
        query.parts === undefined
          ? ofPart
          : (ofPart ?? (await checksums.find(opened.etag, parts))?.[(query.parts.number ?? 1) - 1]);
      if (hash !== undefined) setDigestHeader(reply, hash);
      if (!isGet) return reply.header('content-length', archive.size).send();
      const range = setRangeHeaders(request, reply, archive);
      const sending = await allowance.admit(archive, range);
      const stream = archive.read(range, gone, sending.onFetched);
      observer?.begin(archive, range, stream);
      // A part of an image that has to be signed waits for all of a layer.
      await keepAlive(reply.raw, sendArchive(reply, stream, sending, observer));
      return reply;
    } catch (error) {
      observer?.fail(error);
      throw error;
    }
  };
}

/**
 * Writes the archive past Fastify, so that its buffers can be used again. What fails before the first byte is thrown.
 */
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

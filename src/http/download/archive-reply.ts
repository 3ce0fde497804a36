import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { unparted } from '../../archive/parts.ts';
import type { Checksums } from '../../download/checksums.ts';
import type { FileAddresses } from '../../download/file-urls.ts';
import type { FixedDownload } from '../../download/open-download.ts';
import { noPart } from '../../download/selection.ts';
import type { Archive, LiveArchive } from '../../sources/image-source.ts';
import { type Exchange, isGet } from './exchange.ts';
import { linkHeader } from './file-addresses.ts';
import {
  digestHeaders,
  fileHeaders,
  isNotModified,
  liveHeaders,
  rangeHeaders,
  refuseIfMatch,
  requestedRange,
} from './headers.ts';
import { withInterimResponses } from './interim-responses.ts';
import { sendStream } from './send-stream.ts';

/** Replies with an archive or a part of it, or with the requested range of either. */
export async function replyArchive(
  exchange: Exchange,
  download: FixedDownload,
  { addresses, checksums }: { readonly addresses: FileAddresses; readonly checksums: Checksums },
): Promise<FastifyReply> {
  const { request, reply, query, limits, observer, signal } = exchange;
  const file = fileOf(download);
  const headers = { ...fileHeaders(file, query), ...linkHeader(addresses) };
  if (isNotModified(request, file.etag)) return reply.status(304).headers(headers).send();
  const hash = await knownHash(download, file, checksums);
  const described = { ...headers, ...(hash !== undefined && digestHeaders(hash)) };
  if (!isGet(exchange)) return reply.headers({ ...described, 'content-length': file.size }).send();
  const range = requestedRange(request, file);
  const sending = await limits.admit(file, range);
  const stream = file.read(range, signal, sending.onFetched);
  observer?.begin(file, range, stream);
  // The first byte of an image that must be signed waits for a whole layer.
  await withInterimResponses(
    reply.raw,
    sendStream(exchange, stream, { ...described, ...rangeHeaders(file.size, range) }, sending),
  );
  return reply;
}

/** Replies with an archive that is created while it is sent. */
export async function replyLive(exchange: Exchange, archive: LiveArchive): Promise<FastifyReply> {
  const { request, reply, query, limits, observer, signal } = exchange;
  refuseIfMatch(request);
  const headers = liveHeaders(archive, query);
  // Without a stream, Fastify would state a Content-Length of 0.
  if (!isGet(exchange)) return reply.headers(headers).send(Readable.from([]));
  const sending = await limits.admit(archive, undefined);
  const stream = await withInterimResponses(reply.raw, archive.start(signal, sending.onFetched));
  observer?.begin(archive, undefined, stream);
  await sendStream(exchange, stream, headers, sending);
  return reply;
}

function fileOf(download: FixedDownload): Archive {
  if (download.kind === 'parts') throw noPart(download.parts);
  return download.kind === 'part' ? download.part : download.archive;
}

/** Returns the hash of a file, if it was computed before, alone or together with all parts. */
async function knownHash(
  download: FixedDownload,
  file: Archive,
  checksums: Checksums,
): Promise<string | undefined> {
  const [own] = (await checksums.find(file.etag, unparted(file.size))) ?? [];
  if (own !== undefined || download.kind !== 'part') return own;
  const { archive, parts, number } = download;
  return (await checksums.find(archive.etag, parts))?.[number - 1];
}

import type { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ByteRange } from '../oci/descriptor.ts';
import { familiarReference, type Reference } from '../oci/reference.ts';
import type { Archive, LiveArchive } from '../sources/image-source.ts';
import { clientAddress } from './client-address.ts';

/** The log of one download: `Downloading image: busybox` first and, when it is over, `[OK] busybox …` or why not. */
export interface DownloadLog {
  /** The archive is fixed and its bytes begin to flow. */
  begin(archive: Archive | LiveArchive, range: ByteRange | undefined, stream: Readable): void;
  /** There will be no archive. */
  fail(error: unknown): void;
}

interface Flow {
  readonly archive: Archive | LiveArchive;
  /** Undefined: the whole, however long that will be. */
  readonly range: ByteRange | undefined;
  readonly stream: Readable;
}

export function logDownload(
  request: FastifyRequest,
  reply: FastifyReply,
  references: readonly Reference[],
): DownloadLog {
  const image = references.map(familiarReference).join(', ');
  const { log, headers } = request;
  const started = performance.now();
  let flow: Flow | undefined;
  let failure: unknown;
  log.info({ image, client: clientAddress(request), range: headers.range }, `Downloading image: ${image}`);

  reply.raw.once('close', () => {
    const seconds = Math.round(performance.now() - started) / 1000;
    const fields = { image, status: reply.statusCode, seconds, ...(flow && flowFields(flow)) };
    const error = failure ?? flow?.stream.errored;
    const isOver = reply.raw.writableFinished && !error;
    if (isOver) log.info(fields, flow ? okLine(image, flow, seconds) : `[OK] ${image} is not modified`);
    else if (!(error instanceof Error) || error.name === 'AbortError')
      log.info(fields, `[LEFT] ${image}: the client went`);
    else log.warn({ ...fields, err: error }, `[FAILED] ${image}: ${error.message}`);
  });
  return {
    begin(archive, range, stream) {
      const whole = archive.size === undefined ? undefined : { start: 0, end: archive.size };
      flow = { archive, range: range ?? whole, stream };
    },
    fail(error) {
      failure = error;
    },
  };
}

function flowFields({ archive: { digests, zstd, staleSince }, range }: Flow): object {
  const part = range && { bytes: range.end - range.start, offset: range.start };
  return { digest: digests.join(', '), ...part, zstd, staleSince };
}

function okLine(image: string, { archive, range }: Flow, seconds: number): string {
  const { digests, zstd, staleSince } = archive;
  const zstdWarning = zstd ? '; its zstd layers do not load in Docker before 23.0' : '';
  const staleWarning =
    staleSince === undefined
      ? ''
      : `; the registry does not answer, known since ${new Date(staleSince).toISOString()}`;
  const bytes = range === undefined ? 'all' : range.end - range.start;
  return `[OK] ${image} ${digests.join(', ')}: ${bytes} bytes in ${seconds} s${zstdWarning}${staleWarning}`;
}

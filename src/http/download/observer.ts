import type { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ByteRange } from '../../oci/descriptor.ts';
import { familiarReference, type Reference } from '../../oci/reference.ts';
import type { Archive, LiveArchive } from '../../sources/image-source.ts';
import type { Drain } from '../listener/drain.ts';
import { clientAddress } from '../protocol/client-address.ts';
import type { DownloadMetrics, DownloadResult, HttpMetrics } from '../protocol/metrics-port.ts';

/** One download in the log and the metrics: `Downloading image: busybox` first and, when it is over, `[OK] busybox …` or why not. */
export interface DownloadObserver {
  /** The archive is fixed and its bytes begin to flow. */
  begin(archive: Archive | LiveArchive, range: ByteRange | undefined, stream: Readable): void;
  sent(bytes: number): void;
  /** There will be no archive. */
  fail(error: unknown): void;
}

interface Flow {
  readonly archive: Archive | LiveArchive;
  /** Undefined: the whole, however long that will be. */
  readonly range: ByteRange | undefined;
  readonly stream: Readable;
  readonly meter: DownloadMetrics;
}

export function observeDownload(
  request: FastifyRequest,
  reply: FastifyReply,
  references: readonly Reference[],
  { meter, drain }: { readonly meter: HttpMetrics; readonly drain: Drain },
): DownloadObserver {
  const image = references.map(familiarReference).join(', ');
  const { log, headers } = request;
  const started = performance.now();
  let flow: Flow | undefined;
  let failure: unknown;
  let hasBegun = false;
  log.info({ image, client: clientAddress(request), range: headers.range }, `Downloading image: ${image}`);

  drain.add(reply);
  reply.raw.once('close', () => {
    const seconds = secondsSince(started);
    const fields = { image, status: reply.statusCode, seconds, ...(flow && flowFields(flow)) };
    const error = failure ?? flow?.stream.errored;
    const isOver = reply.raw.writableFinished && !error;
    const isBrokenOff = !isOver && drain.over.aborted;
    const result: DownloadResult = isOver ? 'ok' : isBrokenOff || isOurs(error) ? 'failed' : 'left';
    flow?.meter.end(result, seconds);
    if (isOver) log.info(fields, flow ? okLine(image, flow, seconds) : `[OK] ${image} is not modified`);
    else if (isBrokenOff) log.warn(fields, `[FAILED] ${image}: the service stops`);
    else if (isOurs(error)) log.warn({ ...fields, err: error }, `[FAILED] ${image}: ${error.message}`);
    else log.info(fields, `[LEFT] ${image}: the client went`);
  });
  return {
    begin(archive, range, stream) {
      const whole = archive.size === undefined ? undefined : { start: 0, end: archive.size };
      flow = { archive, range: range ?? whole, stream, meter: meter.download() };
    },
    sent(bytes) {
      if (!hasBegun) flow?.meter.firstByte(secondsSince(started));
      hasBegun = true;
      flow?.meter.sent(bytes);
    },
    fail(error) {
      failure = error;
    },
  };
}

function secondsSince(started: number): number {
  return Math.round(performance.now() - started) / 1000;
}

/** Tells a failure from a client that went. */
function isOurs(error: unknown): error is Error {
  return error instanceof Error && error.name !== 'AbortError';
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

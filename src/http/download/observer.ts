import type { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ByteRange } from '../../oci/descriptor.ts';
import { familiarReference, type Reference } from '../../oci/reference.ts';
import type { Archive, LiveArchive } from '../../sources/image-source.ts';
import type { Drain } from '../listener/drain.ts';
import { whenOver } from '../protocol/client-abort.ts';
import { clientAddress } from '../protocol/client-address.ts';
import type { DownloadMetrics, DownloadResult, HttpMetrics } from '../protocol/metrics-port.ts';

/**
 * One transfer in the log and the metrics: `Downloading image: busybox` first and, when it is over, `[OK] busybox …` or why
 * not. An image under pull has many blobs, so only the end of each is a line: `[OK] blob of busybox …`.
 */
export interface DownloadObserver {
  /** The archive is fixed and its bytes begin to flow. */
  begin(file: ObservedFile, range: ByteRange | undefined, stream: Readable): void;
  sent(bytes: number): void;
  /** The archive does not exist. */
  fail(error: unknown): void;
}

/** A file whose transfer is observed: an archive or a blob. */
export type ObservedFile = Pick<Archive | LiveArchive, 'size' | 'digests' | 'zstd' | 'staleSince'>;

/** A transfer, as the log and the metrics name it. */
export interface Transfer {
  /** A download of archives, or a pull of a blob through the registry API. */
  readonly kind: 'download' | 'pull';
  /** The images or the repository, in short. */
  readonly image: string;
}

/** Names a download of images. */
export function downloadOf(references: readonly Reference[]): Transfer {
  return { kind: 'download', image: references.map(familiarReference).join(', ') };
}

interface Flow {
  readonly file: ObservedFile;
  /** Undefined for the whole file of unknown length. */
  readonly range: ByteRange | undefined;
  readonly stream: Readable;
  readonly meter: DownloadMetrics;
}

export function observeDownload(
  request: FastifyRequest,
  reply: FastifyReply,
  { kind, image }: Transfer,
  { meter, drain }: { readonly meter: HttpMetrics; readonly drain: Drain },
): DownloadObserver {
  const { log, headers } = request;
  const started = performance.now();
  let flow: Flow | undefined;
  let failure: unknown;
  let hasBegun = false;
  const name = kind === 'pull' ? `blob of ${image}` : image;
  if (kind === 'download')
    log.info({ image, client: clientAddress(request), range: headers.range }, `Downloading image: ${image}`);

  drain.add(reply);
  whenOver(reply, () => {
    const seconds = secondsSince(started);
    const fields = { kind, image, status: reply.statusCode, seconds, ...(flow && flowFields(flow)) };
    const error = failure ?? flow?.stream.errored;
    const isOver = reply.raw.writableFinished && !error;
    const isBrokenOff = !isOver && drain.over.aborted;
    const result: DownloadResult = isOver ? 'ok' : isBrokenOff || isOurs(error) ? 'failed' : 'left';
    flow?.meter.end(result, seconds);
    if (isOver) log.info(fields, flow ? okLine(name, flow, seconds) : `[OK] ${name} is not modified`);
    else if (isBrokenOff) log.warn(fields, `[FAILED] ${name}: the service stops`);
    else if (isOurs(error)) log.warn({ ...fields, err: error }, `[FAILED] ${name}: ${error.message}`);
    else log.info(fields, `[LEFT] ${name}: the client went`);
  });
  return {
    begin(file, range, stream) {
      // The end of the response was observed already. A transfer that begins now would never end in the metrics.
      if (reply.raw.destroyed) return;
      const whole = file.size === undefined ? undefined : { start: 0, end: file.size };
      flow = { file, range: range ?? whole, stream, meter: meter[kind]() };
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

/** Distinguishes a failure from a disconnected client. */
function isOurs(error: unknown): error is Error {
  return error instanceof Error && error.name !== 'AbortError';
}

function flowFields({ file: { digests, zstd, staleSince }, range }: Flow): object {
  const part = range && { bytes: range.end - range.start, offset: range.start };
  return { digest: digests.join(', '), ...part, zstd, staleSince };
}

function okLine(image: string, { file, range }: Flow, seconds: number): string {
  const { digests, zstd, staleSince } = file;
  const zstdWarning = zstd ? '; its zstd layers do not load in Docker before 23.0' : '';
  const staleWarning =
    staleSince === undefined
      ? ''
      : `; the registry does not answer, known since ${new Date(staleSince).toISOString()}`;
  const bytes = range === undefined ? 'all' : range.end - range.start;
  return `[OK] ${image} ${digests.join(', ')}: ${bytes} bytes in ${seconds} s${zstdWarning}${staleWarning}`;
}

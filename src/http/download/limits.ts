import { hash } from 'node:crypto';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { FastifyRequest } from 'fastify';
import { FORMATS } from '../../archive/format.ts';
import type { ArchiveQuery } from '../../download/query.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Demand } from '../../oci/blob-reader.ts';
import type { ByteRange } from '../../oci/descriptor.ts';
import { formatPlatformChoice } from '../../oci/platform-choice.ts';
import { formatReference } from '../../oci/reference.ts';
import type { Archive, ArchiveRequest, LiveArchive } from '../../sources/image-source.ts';
import { clientOf } from '../plugins/limits.ts';
import { throttle } from './throttle.ts';

/** The use of a client's limits by one request, released when the request ends. */
export interface DownloadLimits {
  /** The client by its key, see {@link clientOf}. */
  readonly client: string;
  /**
   * Takes a slot for one of the client's simultaneous downloads. Called before the archive exists, because preparing it
   * may be most of the work. Repeated calls change nothing.
   *
   * @param download the query of the download, or its name
   * @throws ServiceError `too-many-connections`, `too-many-downloads` or `service-full`
   */
  takeSlot(download: SlotQuery | string): Promise<void>;
  /**
   * Lets bytes of a file be sent.
   *
   * @throws ServiceError `daily-bytes-used`
   */
  admit(file: SentFile, range: ByteRange | undefined): Promise<Sending>;
  /**
   * Lets the request read layers, for formats that depend on their content. Reading takes a slot, and each unpacked byte
   * counts, so that a layer that unpacks to terabytes costs its client what it costs the service.
   *
   * @param onDemand as in {@link ArchiveRequest}
   */
  reading(query: SlotQuery, onDemand?: number): ArchiveRequest['reading'];
}

/** The file of a response, whole or in part. */
export type SentFile = Pick<Archive, 'size' | 'etag'> | Pick<LiveArchive, 'size'>;

/** The values that distinguish one archive from another. */
export type SlotQuery = Pick<ArchiveQuery, 'references' | 'platform' | 'format' | 'have'>;

/** Counts and limits the bytes of one response. */
export interface Sending {
  /** Must be called with each chunk; undefined if no limit counts bytes. */
  readonly inspect: ((chunk: Uint8Array) => void) | undefined;
  /** As in {@link Demand}; undefined if nothing is counted. */
  readonly onFetched: Demand['onFetched'];
  /**
   * Wraps a sink so that it keeps to the client's bandwidth. Destroy the returned sink on failure.
   *
   * @param begin called before each write to the given sink if the returned one is another
   */
  through(sink: Writable, begin: () => void): { readonly sink: Writable; flushed(): Promise<void> };
}

/** @param over aborts when the request is over, however it ended */
export function downloadLimits(limits: Limits, request: FastifyRequest, over: AbortSignal): DownloadLimits {
  const client = clientOf(request);
  const whenOver = (work: () => void): void => {
    if (over.aborted) work();
    else over.addEventListener('abort', work, { once: true });
  };
  let taken: Promise<void> | undefined;
  const own: DownloadLimits = {
    client,
    takeSlot(download) {
      const name = typeof download === 'string' ? download : nameOf(download);
      taken ??= limits.downloads.take(client, name).then(whenOver);
      return taken;
    },
    reading(query, onDemand) {
      if (FORMATS[query.format].unpacked === undefined) return undefined;
      return {
        onDemand,
        async admit() {
          await own.takeSlot(query);
          const { inspect } = await own.admit({ size: undefined }, undefined);
          return inspect;
        },
      };
    },
    async admit(file, range) {
      const meter = await limits.bytes?.admit(client, partOf(file, range));
      if (meter !== undefined) whenOver(() => meter.end());
      const { bandwidth } = limits;
      return {
        inspect: meter && ((chunk) => meter.sent(chunk.length)),
        onFetched: meter?.fetched,
        through(sink, begin) {
          if (bandwidth === undefined) return { sink, flushed: async () => {} };
          const throttled = throttle(sink, bandwidth.open(client), bandwidth.rate, begin);
          return { sink: throttled, flushed: () => finished(throttled.end()) };
        },
      };
    },
  };
  return own;
}

function partOf(file: SentFile, range: ByteRange | undefined) {
  if (file.size === undefined) return { etag: undefined, size: 0, start: 0, length: 0 };
  const { etag, size } = file;
  const { start, end } = range ?? { start: 0, end: size };
  return { etag, size, start, length: end - start };
}

/** Returns one name for all equivalent requests for an archive. */
function nameOf({ references, platform, format, have }: SlotQuery): string {
  const images = references.map(formatReference).join(' ');
  const held = have && [...have.references.map(formatReference), ...have.layers].join(' ');
  const platforms = platform === undefined ? '' : formatPlatformChoice(platform);
  const all = `${images} ${platforms} ${format} ${held ?? ''}`;
  return hash('sha256', all, 'base64url').slice(0, 22);
}

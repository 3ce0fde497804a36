import { setImmediate as immediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import { SMALL_DOCUMENT } from '../util/large-documents.ts';
import type { HttpResponse } from './http.ts';
import { upstreamError } from './upstream-error.ts';

const unzip = promisify(gunzip);
const REDIRECT_BODY_LIMIT = 64 * 1024;
const DRAIN_TIMEOUT_MS = 5_000;
/** Bytes that are reserved for a body of unknown length. */
const FIRST_BODY = 16 * 1024;

const GZIP_MAGIC = Buffer.from([0x1f, 0x8b]);

/**
 * Reads a small body whole, and decompresses it if its Content-Encoding is gzip. Some servers compress without being
 * asked, which Go's client doesn't notice because it always accepts gzip.
 *
 * @param limit in bytes, for the compressed and for the decompressed body
 * @throws ServiceError `registry-failed` if the body exceeds the limit or cannot be unpacked
 */
export async function readBody(response: HttpResponse, limit: number): Promise<Buffer> {
  const { holdLarge = <T>(work: () => Promise<T>): Promise<T> => work() } = response;
  const iterator = (response.body as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  const stated = response.method === 'HEAD' ? 0 : Number(response.header('content-length') ?? 0);
  let body: Buffer = Buffer.allocUnsafeSlow(Math.min(stated || FIRST_BODY, SMALL_DOCUMENT, limit));
  let length = 0;
  const add = (chunk: Buffer): void => {
    if (length + chunk.length > body.length) {
      const wanted = Math.max(length + chunk.length, Math.min(stated || 2 * body.length, limit));
      body = Buffer.concat([body.subarray(0, length)], wanted);
    }
    length += chunk.copy(body, length);
    response.release(chunk);
  };
  /** Reads at most one chunk more than these bytes. Returns whether the body has ended. */
  const readTo = async (bytes: number): Promise<boolean> => {
    while (length <= bytes) {
      const { done, value } = await iterator.next();
      if (done === true) return true;
      if (length + value.length > limit) throw tooLong(response, limit);
      add(value);
    }
    return false;
  };
  try {
    // The chunk that makes a body large would reserve all of it.
    const isSmall = stated <= SMALL_DOCUMENT && (await readTo(SMALL_DOCUMENT));
    if (!isSmall) await holdLarge(() => readTo(limit));
  } catch (error) {
    response.body.destroy();
    throw upstreamError(error, response.url.host, { isFinal: response.method === 'POST' });
  }
  // undici reuses the connection one turn of the event loop later; an earlier request would open another one.
  await immediate();
  const bytes = body.subarray(0, length);
  const isPacked = /^(?:x-)?gzip$/i.test(response.header('content-encoding') ?? '');
  if (!isPacked || !bytes.subarray(0, 2).equals(GZIP_MAGIC)) return bytes;
  // A small body may become a large one.
  return holdLarge(() => unpacked(bytes, response, limit));
}

function tooLong({ url }: HttpResponse, limit: number): ServiceError {
  return new ServiceError('registry-failed', detail('metadata-large', { host: url.host, limit }), {
    isFinal: true,
  });
}

async function unpacked(bytes: Buffer, { url }: HttpResponse, limit: number): Promise<Buffer> {
  try {
    return await unzip(bytes, { maxOutputLength: limit });
  } catch (cause) {
    throw new ServiceError('registry-failed', detail('gzip-damaged', { host: url.host }), {
      isFinal: true,
      cause,
    });
  }
}

/** Reads what is left of a short body, so that its connection can be used again; gives up on a long or slow one. */
export async function drain(response: HttpResponse, timeout = DRAIN_TIMEOUT_MS): Promise<void> {
  const timer = setTimeout(() => response.body.destroy(), timeout);
  await readBody(response, REDIRECT_BODY_LIMIT).catch(() => response.body.destroy());
  clearTimeout(timer);
}

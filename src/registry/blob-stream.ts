import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { CatalogueError } from '../errors.ts';
import { type HttpResponse, upstreamError } from '../net/http-client.ts';
import type { ByteRange, Descriptor } from '../oci/descriptor.ts';
import { digestHash, finishDigest } from '../oci/digest.ts';
import { createPace, type PaceLimits } from '../pace.ts';
import { streamFrom } from '../streams.ts';
import { isOutage } from './status-error.ts';

/** Asks for a range of a blob, by a Range header where it is not the whole; resolves with a 200 or a 206. */
export type OpenRange = (range: ByteRange, signal: AbortSignal) => Promise<HttpResponse>;

/** How often in a row a blob is asked for again while no byte of it comes. */
const MAX_FAILURES = 4;
const FIRST_PAUSE_MS = 250;
/** The client at the other end gives up, too. */
const LONGEST_PAUSE_MS = 20_000;
/** A registry that drips, or breaks off after each byte, holds a connection and a client for nothing. */
export const SLOWEST_REGISTRY: PaceLimits = { bytesPerSecond: 1024, patience: 60_000 };

/**
 * Streams a blob or a range of it, going on by Range where the registry breaks off. A whole blob's digest is verified
 * before its last chunk is given away.
 */
export function streamBlob(
  open: OpenRange,
  blob: Descriptor,
  range: ByteRange,
  signal: AbortSignal,
  slowest: PaceLimits = SLOWEST_REGISTRY,
  retries = MAX_FAILURES,
): Readable {
  const chunks = (ended: AbortSignal) => resumed(open, blob, range, ended, { slowest, retries });
  return streamFrom((ended) => verified(chunks(ended), blob, range), signal);
}

/** Passes chunks on, the last of them once the digest of the whole is right; of a range, all as they are. */
export async function* verified(
  chunks: AsyncGenerator<Buffer, void>,
  blob: Descriptor,
  range: ByteRange,
): AsyncGenerator<Buffer, void> {
  const isWhole = range.start === 0 && range.end === blob.size;
  if (!isWhole) return yield* chunks;
  const hash = digestHash(blob.digest);
  let held: Buffer | undefined;
  for await (const chunk of chunks) {
    if (held !== undefined) yield held;
    hash.update(chunk);
    held = chunk;
  }
  if (finishDigest(hash, blob.digest) !== blob.digest) {
    throw new CatalogueError(
      'content-mismatch',
      `What the registry sent for ${blob.digest} has another digest.`,
    );
  }
  if (held !== undefined) yield held;
}

async function* resumed(
  open: OpenRange,
  blob: Descriptor,
  { start, end }: ByteRange,
  signal: AbortSignal,
  { slowest, retries }: { readonly slowest: PaceLimits; readonly retries: number },
): AsyncGenerator<Buffer, void> {
  const pace = createPace(slowest);
  let at = start;
  let failures = 0;
  let waitsSince = performance.now();
  let isTooSlow = false;
  while (at < end) {
    try {
      const response = await open({ start: at, end }, signal);
      for await (const chunk of bodyFrom(response, blob, { start: at, end })) {
        at += chunk.length;
        failures = 0;
        isTooSlow = !pace.count(performance.now() - waitsSince, chunk.length);
        if (isTooSlow) throw tooSlow(response);
        yield chunk;
        // For as long as the reader took, nobody waited for the registry.
        waitsSince = performance.now();
      }
      if (at < end)
        throw new CatalogueError(
          'registry-failed',
          `${response.url.host} ended the blob ${blob.digest} early.`,
        );
    } catch (error) {
      signal.throwIfAborted();
      failures += 1;
      if (isTooSlow || failures > retries || !isWorthAnotherTry(error)) throw error;
      await delay(pauseAfter(error, failures), undefined, { signal });
      // It asked for that pause.
      if (error.code === 'registry-rate-limited') waitsSince = performance.now();
    }
  }
}

/** The bytes of a response that are of the range, also where the registry ignored it and sends the whole blob. */
async function* bodyFrom(
  response: HttpResponse,
  blob: Descriptor,
  { start, end }: ByteRange,
): AsyncGenerator<Buffer, void> {
  let at = checkedStart(response, blob, start);
  const promisedEnd = response.status === 206 ? end : blob.size;
  try {
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      if (chunk.length > promisedEnd - at) throw mismatch(blob, 'is longer than the manifest says');
      const wanted = chunk.subarray(Math.max(start - at, 0), Math.max(end - at, 0));
      at += chunk.length;
      if (wanted.length > 0) yield wanted;
      if (at >= end && end < promisedEnd) return;
    }
  } catch (error) {
    throw upstreamError(error, response.url.host);
  }
}

/** Where the body begins in the blob. Destroys a body that cannot be of this blob, or of this part of it. */
function checkedStart(response: HttpResponse, blob: Descriptor, at: number): number {
  const fail = (why: string): never => {
    response.body.destroy();
    throw mismatch(blob, why);
  };
  if (response.status === 206) {
    const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.header('content-range') ?? '') ?? [];
    if (Number(first) !== at) fail('was asked for by a range and came with another one');
    if (total !== '*' && Number(total) !== blob.size)
      fail(`has ${Number(total)} bytes instead of ${blob.size}`);
    return at;
  }
  const length = response.header('content-length');
  if (length !== undefined && Number(length) !== blob.size)
    fail(`has ${Number(length)} bytes instead of ${blob.size}`);
  return 0;
}

function tooSlow({ url }: HttpResponse): CatalogueError {
  return new CatalogueError('registry-timeout', `${url.host} sends too slowly.`, {
    reason: `${url.host} sends too slowly`,
  });
}

function mismatch({ digest }: Descriptor, why: string): CatalogueError {
  return new CatalogueError('content-mismatch', `The blob ${digest} ${why}.`);
}

function isWorthAnotherTry(error: unknown): error is CatalogueError {
  if (!isOutage(error)) return false;
  return error.code !== 'registry-rate-limited' || pauseAfter(error, 1) <= LONGEST_PAUSE_MS;
}

/** Milliseconds: what a registry that limits us asks for, otherwise twice the last pause. */
function pauseAfter({ code, retryAfter = 0 }: CatalogueError, failures: number): number {
  return code === 'registry-rate-limited' ? retryAfter * 1000 : FIRST_PAUSE_MS * 2 ** (failures - 1);
}

import type { Hash } from 'node:crypto';
import type { Readable, Writable } from 'node:stream';
import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import type { HttpResponse } from '../net/http.ts';
import { upstreamError } from '../net/upstream-error.ts';
import type { ByteRange, Descriptor } from '../oci/descriptor.ts';
import { digestHash, finishDigest } from '../oci/digest.ts';
import { ABORTED, destroyOnAbort } from '../util/aborted.ts';
import { createMinimumRate, type MinimumRate, type MinimumRateLimits } from '../util/minimum-rate.ts';
import { DirectStream } from '../util/streams.ts';
import { untilAborted } from '../util/until-aborted.ts';
import { patiently, type Retry } from './retry.ts';

/** Requests a range of a blob, or without a Range header the whole blob. Resolves with a 200 or a 206. */
export type OpenRange = (range: ByteRange, signal: AbortSignal) => Promise<HttpResponse>;

/** A host that can have a blob, and the timeouts for its requests. */
export interface BlobHost {
  readonly open: OpenRange;
  /** Maximum consecutive retries without progress; 4 if absent. */
  readonly retries?: number | undefined;
  /** The retry policy; defaults to {@link patiently}. */
  readonly retry?: Retry;
  /** The minimum transfer rate; defaults to {@link SLOWEST_REGISTRY}. */
  readonly slowest?: MinimumRateLimits | undefined;
  /** Returns true if the host may be asked now; if absent, it always may. */
  readonly admits?: () => boolean;
  readonly succeeded?: () => void;
  /** Called with the error when the stream abandons this host, also if only the final digest shows the fault. */
  readonly failed?: (error: unknown) => void;
}

const MAX_FAILURES = 4;
/** Milliseconds. With a longer pause, the client would give up. */
const LONGEST_PAUSE_MS = 20_000;
/**
 * Parses Content-Range as leniently as curl: the unit in any case, and also `bytes=` or `bytes:`, which some servers
 * send.
 */
const CONTENT_RANGE = /^\s*bytes[\s:=]*(\d+)\s*-\s*\d+\s*\/\s*(\d+|\*)\s*$/i;
/** Below this rate, a registry holds a connection and a client without useful progress. */
export const SLOWEST_REGISTRY: MinimumRateLimits = { bytesPerSecond: 1024, patience: 60_000 };

/**
 * Streams a blob or a range of it from the first host that has it. A broken stream continues by Range, and another
 * host replaces one that fails too often. A whole blob's last chunk waits for the check of its digest.
 *
 * Resolves when a response has started, so that an early failure is an error before the first byte. The body waits
 * until the stream is read.
 *
 * @param isPartOnly true to fail if a host ignores the range, instead of reading the bytes before the range, too
 * @throws ServiceError the error of the last host; `size-mismatch` if the host states another size than the descriptor
 */
export async function streamBlob(
  hosts: readonly BlobHost[],
  blob: Descriptor,
  range: ByteRange,
  signal: AbortSignal,
  isPartOnly = false,
): Promise<Readable> {
  const stream = new BlobStream(hosts, blob, range, signal, isPartOnly);
  await stream.opened;
  return stream;
}

/** Takes the chunks of a stream. */
interface Consumer {
  /** Returns whether it wants the next chunk immediately. Otherwise, it resumes the stream later. */
  take(chunk: Buffer): boolean;
  end(): void;
}

class BlobStream extends DirectStream {
  readonly #hosts: readonly BlobHost[];
  readonly #blob: Descriptor;
  readonly #end: number;
  /** Set for a whole blob only. */
  readonly #hash: Hash | undefined;
  readonly #signal: AbortSignal;
  readonly #isPartOnly: boolean;
  readonly #closed = new AbortController();
  readonly #opened = Promise.withResolvers<void>();
  readonly #attached = Promise.withResolvers<Consumer>();
  /** The hosts that sent parts of the delivered bytes. */
  readonly #senders = new Set<BlobHost>();
  /** The position of the next byte in the blob. */
  #at: number;
  /**
   * The last chunk of a whole blob, which waits for the check of all bytes. Before, it is the first chunk until the
   * second arrives: a host that sends an HTML page ends there.
   */
  #held: Buffer | undefined;
  #consumer: Consumer | undefined;
  #body: Readable | undefined;
  /** Releases the memory of a chunk to its response. */
  #release: HttpResponse['release'] = () => {};
  #isWanted = false;
  /** Called when the consumer wants the next chunk. Set while a new request waits for that. */
  #whenWanted: (() => void) | undefined;
  /** The time at which the stream started to wait for the registry. */
  #waitsSince = 0;
  #isTooSlow = false;

  constructor(
    hosts: readonly BlobHost[],
    blob: Descriptor,
    range: ByteRange,
    signal: AbortSignal,
    isPartOnly: boolean,
  ) {
    super({ highWaterMark: 1 });
    this.#isPartOnly = isPartOnly;
    this.#hosts = hosts;
    this.#blob = blob;
    this.#at = range.start;
    this.#end = range.end;
    this.#hash = range.start === 0 && range.end === blob.size ? digestHash(blob.digest) : undefined;
    this.#signal = AbortSignal.any([signal, this.#closed.signal]);
    // Before the first read, `opened` reports the errors.
    this.on('error', this.#opened.reject);
    this.#opened.promise.catch(() => {});
    this.#serve();
    // The last step, because an already aborted signal destroys the stream at once, which must then be complete.
    destroyOnAbort(signal, this);
  }

  /** Resolves when the first response is one of this blob. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  override hashSoFar(): Hash | undefined {
    return this.#hash;
  }

  override _read(): void {
    if (this.#consumer === undefined) {
      this.#begin({ take: (chunk) => this.push(chunk), end: () => this.push(null) });
    } else this.#goOn();
  }

  sendTo(sink: Writable, inspect?: (chunk: Uint8Array) => void): Promise<void> {
    if (this.destroyed) return Promise.reject(this.errored ?? new Error('The stream was closed.'));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.on('error', reject).once('close', () => reject(new Error('The stream was closed.')));
    const goOn = (): void => this.#goOn();
    this.#begin({
      take: (chunk) => {
        inspect?.(chunk);
        const release = this.#release;
        const isReady = sink.write(chunk, () => release(chunk));
        if (!isReady) sink.once('drain', goOn);
        return isReady;
      },
      end: () => {
        resolve();
        this.destroy();
      },
    });
    return promise;
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#closed.abort(ABORTED);
    this.#body?.destroy();
    callback(error);
  }

  #begin(consumer: Consumer): void {
    this.#consumer = consumer;
    this.#attached.resolve(consumer);
    this.#goOn();
  }

  /** Fetches the blob. The consumer gets the result once it reads. */
  async #serve(): Promise<void> {
    try {
      await this.#fetch();
      this.#opened.resolve();
      this.#finish(await this.#attached.promise);
    } catch (error) {
      this.#opened.reject(error);
      await this.#attached.promise;
      this.destroy(error as Error);
    }
  }

  #goOn(): void {
    if (this.#isWanted) return;
    this.#isWanted = true;
    this.#waitsSince = performance.now();
    this.#whenWanted?.();
    this.#body?.resume();
  }

  /** Waits until the consumer reads again. Otherwise, a new connection would break just like the last one. */
  async #untilWanted(): Promise<void> {
    if (this.#consumer === undefined || this.#isWanted) return;
    const wanted = new Promise<void>((resolve) => {
      this.#whenWanted = resolve;
    });
    await untilAborted(wanted, this.#signal);
  }

  async #fetch(): Promise<void> {
    let failure: unknown;
    for (const host of this.#hosts) {
      if (host.admits?.() === false) continue;
      try {
        await this.#fetchFrom(host);
        host.succeeded?.();
        return;
      } catch (error) {
        this.#signal.throwIfAborted();
        host.failed?.(error);
        failure = error;
        // The next host sends it again, because this chunk may be the only one of a wrong host.
        this.#at -= this.#held?.length ?? 0;
        this.#held = undefined;
      }
    }
    throw failure;
  }

  async #fetchFrom(host: BlobHost): Promise<void> {
    const { retries = MAX_FAILURES, retry = patiently, slowest = SLOWEST_REGISTRY } = host;
    const pace = createMinimumRate(slowest);
    const tries = retry({ retries, longestPause: LONGEST_PAUSE_MS });
    this.#isTooSlow = false;
    this.#waitsSince = performance.now();
    while (this.#at < this.#end) {
      const before = this.#at;
      try {
        const response = await host.open({ start: this.#at, end: this.#end }, this.#signal);
        await this.#receive(response, host, pace);
        if (this.#at < this.#end)
          throw this.#isAll()
            ? wrongSize(this.#blob, response.url, this.#at)
            : endedEarly(response, this.#blob);
      } catch (error) {
        this.#signal.throwIfAborted();
        if (this.#isTooSlow) throw error;
        if (this.#at > before) tries.restart();
        await tries.next(error, this.#signal);
        // A pause that the registry asks for doesn't count as slow.
        if (error instanceof ServiceError && error.pause !== undefined) this.#waitsSince = performance.now();
        await this.#untilWanted();
      }
    }
  }

  /** Takes the wanted bytes of a response, also if the registry ignored the range and sends the whole blob. */
  async #receive(response: HttpResponse, host: BlobHost, pace: MinimumRate): Promise<void> {
    const { body, url } = response;
    let position = checkedStart(
      response,
      this.#blob,
      this.#at,
      this.#at === 0 && this.#end === this.#blob.size,
    );
    if (this.#isPartOnly && response.status !== 206) {
      body.on('error', () => {}).destroy();
      throw new Error(`${url.host} ignores ranges`);
    }
    this.#opened.resolve();
    const promisedEnd = response.status === 206 ? this.#end : this.#blob.size;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    body.on('data', (chunk: Buffer) => {
      try {
        if (chunk.length > promisedEnd - position)
          throw response.status === 206 ? otherRange(this.#blob) : wrongSize(this.#blob, url);
        const wanted = chunk.subarray(Math.max(this.#at - position, 0), Math.max(this.#end - position, 0));
        position += chunk.length;
        if (wanted.length > 0) {
          this.#senders.add(host);
          this.#isTooSlow = !pace.count(performance.now() - this.#waitsSince, wanted.length);
          if (this.#isTooSlow) throw tooSlow(response);
          this.#take(wanted);
        }
        if (position >= this.#end && this.#end < promisedEnd) resolve();
      } catch (error) {
        reject(error);
      }
    });
    body.once('end', resolve).once('error', reject);
    // The code that destroyed the body has already rejected with its own reason.
    body.once('close', () => reject(new Error('The body was cut off.')));
    this.#body = body;
    this.#release = response.release;
    if (!this.#isWanted) body.pause();
    try {
      await promise;
    } catch (error) {
      throw upstreamError(error, url.host);
    } finally {
      this.#body = undefined;
      body.destroy();
    }
  }

  /** True if the received bytes are the whole blob, which is shorter than its descriptor states. */
  #isAll(): boolean {
    const hash = this.#hash?.copy();
    if (hash === undefined) return false;
    if (this.#held !== undefined) hash.update(this.#held);
    return finishDigest(hash, this.#blob.digest) === this.#blob.digest;
  }

  #take(chunk: Buffer): void {
    const isFirst = this.#at === 0;
    this.#at += chunk.length;
    if (this.#held !== undefined) this.#give(this.#held);
    this.#held = this.#hash !== undefined && (isFirst || this.#at === this.#end) ? chunk : undefined;
    if (this.#held === undefined) this.#give(chunk);
    // Time that the reader takes does not count as waiting for the registry.
    this.#waitsSince = performance.now();
  }

  #give(chunk: Buffer): void {
    this.#hash?.update(chunk);
    if (this.#consumer?.take(chunk) !== false) return;
    this.#isWanted = false;
    this.#body?.pause();
  }

  #finish(consumer: Consumer): void {
    const { digest } = this.#blob;
    if (this.#held !== undefined) this.#hash?.update(this.#held);
    if (this.#hash !== undefined && finishDigest(this.#hash, digest) !== digest) {
      const error = new ServiceError('content-mismatch', detail('content-wrong', { digest }));
      // Blame all hosts that sent parts, because it is unknown which part is wrong.
      for (const sender of this.#senders) sender.failed?.(error);
      this.destroy(error);
      return;
    }
    if (this.#held !== undefined) consumer.take(this.#held);
    consumer.end();
  }
}

/**
 * Checks that a response to a request for the first byte of a blob states the blob's size, and drops its body.
 *
 * @throws ServiceError `size-mismatch`, or `content-mismatch` if it is of another range
 */
export function checkSize(response: HttpResponse, blob: Descriptor): void {
  checkedStart(response, blob, 0, blob.size === 1);
  response.body.on('error', () => {}).destroy();
}

/**
 * Returns the position of the body in the blob. Destroys a body that cannot be this blob, or the requested part of it.
 */
function checkedStart(response: HttpResponse, blob: Descriptor, at: number, isWhole: boolean): number {
  const fail = (error: ServiceError): never => {
    // The body has no other listener yet, and an unhandled error would end the process.
    response.body.on('error', () => {}).destroy();
    throw error;
  };
  const contentRange = response.header('content-range');
  // If the request had no Range, a 206 without Content-Range can only be the whole blob, which is verified.
  const isPart = response.status === 206 && !(isWhole && contentRange === undefined);
  if (isPart) {
    const [, first, total] = CONTENT_RANGE.exec(contentRange ?? '') ?? [];
    if (Number(first) !== at) fail(otherRange(blob));
    if (total !== '*' && Number(total) !== blob.size) fail(wrongSize(blob, response.url, Number(total)));
    return at;
  }
  const length = response.header('content-length');
  if (length !== undefined && Number(length) !== blob.size)
    fail(wrongSize(blob, response.url, Number(length)));
  return 0;
}

function tooSlow({ url }: HttpResponse): ServiceError {
  return new ServiceError('registry-timeout', detail('blob-slow', { host: url.host }), {
    reason: `${url.host} sends too slowly`,
  });
}

function endedEarly({ url }: HttpResponse, { digest }: Descriptor): ServiceError {
  return new ServiceError('registry-failed', detail('blob-ended-early', { host: url.host, digest }));
}

function otherRange({ digest }: Descriptor): ServiceError {
  return new ServiceError('content-mismatch', detail('blob-range-other', { digest }));
}

/** @param actual the number of bytes; undefined if there are more than in the manifest, and not all were counted */
function wrongSize({ digest, size }: Descriptor, { host }: URL, actual?: number): ServiceError {
  return new ServiceError(
    'size-mismatch',
    actual === undefined
      ? detail('blob-size-exceeded', { size, digest, host })
      : detail('blob-size-wrong', { size, digest, host, actual }),
    { reason: 'The manifest states a wrong blob size' },
  );
}

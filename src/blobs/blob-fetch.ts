import type { Hash } from 'node:crypto';
import { constants, statSync } from 'node:fs';
import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import { addAbortSignal, type Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type ErrorCode, ServiceError } from '../errors.ts';
import type { Approach, BlobReader, Demand } from '../oci/blob-reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { digestHash, finishDigest } from '../oci/digest.ts';
import type { BufferPool } from '../util/buffer-pool.ts';
import { send } from '../util/streams.ts';
import { untilAborted } from '../util/until-aborted.ts';
import { type BlobFiles, isSealed, isUsable, lockOf, openExisting, roomFor, wantedOf } from './blob-files.ts';
import type { DiskQuota } from './disk-quota.ts';
import { FileAppender } from './file-appender.ts';
import { tryLock } from './file-lock.ts';
import { type GrowingFile, StorageFailure } from './growing-file.ts';

export interface FetchOptions {
  readonly blob: Descriptor;
  /** Who sends it: its fetches, of all processes, are one. */
  readonly supplier: string;
  readonly files: BlobFiles;
  readonly room: DiskQuota;
  readonly buffers: BufferPool;
  readonly source: BlobReader;
  /** Maximum bytes that the fetch may be ahead of its furthest reader. */
  readonly readAhead: number;
  /** Called once, when no reader can join any more. */
  readonly onEnd: (error: Error | undefined) => void;
}

/** What is not the blob, whoever asks again. */
const WRONG: ReadonlySet<ErrorCode> = new Set(['content-mismatch', 'size-mismatch']);
/** Bytes at the end that are held back until all are verified, so that wrong content never looks complete. */
const HELD_BACK = 64 * 1024;
/** How much of a blob must be there for its fetch to go on though nobody waits for it. */
const WORTH_FINISHING = 0.75;
/** For how long it then goes on at most. */
const LINGER_MS = 3 * 60_000;
/** How often a fetch of another process is looked at. */
const POLL_MS = 25;
/** Longest pause between polls for readers of other processes. A waiting fetch polls less and less often. */
const RAREST_POLL_MS = 250;
/** Bytes that are fetched for any reader, because only received bytes show that the blob is available. */
const BEGINNING = 64 * 1024;
/**
 * A fetch whose bytes no reader wants closes its connection after this many milliseconds, if more than this many bytes
 * are missing. Otherwise, the system's buffers would continue to fill, and take megabytes from the line. Closing costs
 * the registry a range request, which a smaller rest does not repay.
 */
const [UNWANTED_MS, WORTH_CLOSING] = [500, 32 * 1024 * 1024] as const;
/** Bytes. A fetch with fewer has only shown that its blob is available, and waits for its turn. */
const STARTED = 256 * 1024;
/** Minimum read-ahead in bytes. With less, readers would stall before the last bytes, which are held back. */
const LEAST_READ_AHEAD = 1024 * 1024;

/**
 * One fetch of one blob into the cache, however many read it: in this process by joining it, in others by following
 * the file. Who holds the lock writes; where the writer dies, whoever follows goes on where it stopped.
 */
export class BlobFetch implements GrowingFile {
  failure: Error | undefined;
  readonly #options: FetchOptions;
  /** Settled when the first bytes are there, or nothing will come. */
  readonly #begun = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #abandoned = new AbortController();
  readonly #listeners = new Set<() => void>();
  #file: FileHandle | undefined;
  #received = 0;
  #isVerified = false;
  #isOver = false;
  /** The readers, from the oldest to the newest. */
  readonly #demands = new Set<Demand>();
  readonly #readAhead: number;
  /** Set while this process writes. */
  #appender: FileAppender | undefined;
  /** Bytes of the blob for which the cache has room. */
  #room = 0;
  #isMakingRoom = false;
  #wantedPoll: NodeJS.Timeout | undefined;
  #wantedPollMs = POLL_MS;
  /** Closes the connection, until readers want more. */
  #interruption: AbortController | undefined;
  #closing: NodeJS.Timeout | undefined;
  /** Set while the fetch has no connection, because no reader wants any bytes. */
  #goOn: (() => void) | undefined;
  #lingering: NodeJS.Timeout | undefined;

  constructor(options: FetchOptions) {
    this.#options = options;
    this.#readAhead = Math.max(options.readAhead, LEAST_READ_AHEAD);
    // Each reader that joins gets the failure. Without readers, the rejection must not end the process.
    this.#begun.promise.catch(() => {});
    this.#run();
  }

  get file(): FileHandle {
    if (this.#file === undefined) throw new TypeError('The file is not open yet');
    return this.#file;
  }

  get received(): number {
    return this.#received;
  }

  get available(): number {
    const { size } = this.#options.blob;
    return this.#isVerified ? size : Math.max(Math.min(this.#received, size - HELD_BACK), 0);
  }

  /** Set if the whole blob is received and verified. */
  get isVerified(): boolean {
    return this.#isVerified;
  }

  onChange(call: () => void): () => void {
    this.#listeners.add(call);
    return () => this.#listeners.delete(call);
  }

  /**
   * Adds a reader and waits for the first bytes. The fetch continues while it has a reader, within the read-ahead of
   * the furthest one.
   *
   * @returns a function that removes the reader
   * @throws StorageFailure if the file cannot be used; ServiceError if the fetch fails
   */
  async join(demand: Demand, signal: AbortSignal): Promise<() => void> {
    this.#demands.add(demand);
    clearTimeout(this.#lingering);
    this.#regulate();
    const leave = (): void => {
      this.#demands.delete(demand);
      if (this.#demands.size === 0) this.#goOnAlone();
      else this.#regulate();
    };
    try {
      await untilAborted(this.#begun.promise, signal);
    } catch (error) {
      leave();
      throw error;
    }
    return leave;
  }

  /**
   * Adds a reader that will reach the blob later, until the fetch ends or the signal aborts. Resolves with the first
   * bytes.
   *
   * @throws as {@link join} does
   */
  async attend(approach: Approach, signal: AbortSignal): Promise<void> {
    const leave = await this.join(approach, signal);
    const ignore = approach.onChange(() => this.#regulate());
    const end = (): void => {
      ignore();
      leave();
    };
    untilAborted(this.#ended.promise, signal).then(end, end);
  }

  /** Continues a fetch that waited for its readers, because one has moved. */
  moved(): void {
    if (this.#wantedPoll !== undefined) this.#regulate();
  }

  /** Sets the position up to which the fetch may continue, by its readers in all processes. */
  #regulate(): void {
    clearTimeout(this.#wantedPoll);
    this.#wantedPoll = undefined;
    if (this.#appender === undefined && this.#goOn === undefined) return;
    let reach = this.#reach();
    if (this.#received >= reach) reach = Math.max(reach, this.#wantedElsewhere());
    const limit = Math.min(reach, this.#room);
    // Without a limit for the last bytes, because the response ends only after all of it is read.
    if (this.#appender !== undefined)
      this.#appender.limit = limit >= this.#options.blob.size ? Number.POSITIVE_INFINITY : limit;
    const missing = this.#options.blob.size - this.#received;
    const isWorthClosing = this.#received >= STARTED && missing > Math.min(WORTH_CLOSING, this.#readAhead);
    const isUnwanted = reach <= BEGINNING && isWorthClosing;
    if (isUnwanted) this.#closing ??= setTimeout(() => this.#interruption?.abort(), UNWANTED_MS).unref();
    else this.#keepConnection();
    if (this.#received < reach) {
      this.#wantedPollMs = POLL_MS;
      this.#goOn?.();
      return;
    }
    this.#wantedPoll = setTimeout(() => this.#regulate(), this.#wantedPollMs).unref();
    this.#wantedPollMs = Math.min(2 * this.#wantedPollMs, RAREST_POLL_MS);
  }

  #keepConnection(): void {
    clearTimeout(this.#closing);
    this.#closing = undefined;
  }

  async #untilWanted(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#goOn = resolve;
    this.#regulate();
    await untilAborted(promise, this.#abandoned.signal);
    this.#goOn = undefined;
  }

  /** Returns the number of bytes of the blob that readers of this process want now. */
  #reach(): number {
    const { size } = this.#options.blob;
    // A fetch without readers is aborted, unless it is almost complete. Then it needs all bytes.
    if (this.#demands.size === 0) return size;
    let furthest = Number.NEGATIVE_INFINITY;
    for (const { position } of this.#demands) furthest = Math.max(furthest, position);
    return Math.min(Math.max(furthest + this.#readAhead, BEGINNING), size);
  }

  /** Returns the oldest reader that wants the byte at a position; undefined if only another process wants it. */
  #payer(at: number): Demand | undefined {
    for (const demand of this.#demands) if (at < demand.position + this.#readAhead) return demand;
    return undefined;
  }

  /** Returns the number of bytes that other processes want. If it is unknown, returns all, so that none of them hangs. */
  #wantedElsewhere(): number {
    const { blob, supplier, files } = this.#options;
    try {
      return statSync(wantedOf(files.incomingPath(blob, supplier)), { throwIfNoEntry: false })?.size ?? 0;
    } catch {
      return blob.size;
    }
  }

  /** Goes on where that is soon over. */
  #goOnAlone(): void {
    if (this.#isOver) this.#closeUnused();
    if (this.#isOver || this.failure !== undefined) return;
    const { size } = this.#options.blob;
    const isMostlyDone = this.#received >= size * WORTH_FINISHING && size - this.#received <= this.#readAhead;
    if (isMostlyDone) this.#lingering = setTimeout(() => this.#abandoned.abort(), LINGER_MS);
    else this.#abandoned.abort();
    this.#regulate();
  }

  /** Ends it, whoever reads along; what came stays to be gone on with. What is complete gets its name before. */
  async close(): Promise<void> {
    if (!this.#isVerified) this.#abandoned.abort();
    await this.#ended.promise;
  }

  async #run(): Promise<void> {
    const { onEnd } = this.#options;
    this.#abandoned.signal.addEventListener('abort', () => onEnd(undefined), { once: true });
    try {
      await this.#fillOrFollow().finally(() => this.#wantNothing());
    } catch (error) {
      this.failure = this.#explain(error);
      this.#begun.reject(this.failure);
      this.#notify();
    }
    if (!this.#abandoned.signal.aborted) onEnd(this.failure);
    this.#isOver = true;
    clearTimeout(this.#lingering);
    this.#closeUnused();
    this.#ended.resolve();
  }

  async #fillOrFollow(): Promise<void> {
    const { blob, supplier, files } = this.#options;
    while (!(await this.#isThere())) {
      const lock = tryLock(lockOf(files.incomingPath(blob, supplier)));
      if (lock !== undefined) {
        try {
          if (!(await this.#isThere())) await this.#fill();
        } finally {
          lock.release();
        }
        return;
      }
      if (await this.#follow()) return;
      await delay(POLL_MS, undefined, { signal: this.#abandoned.signal });
    }
  }

  /** Resolves if the blob is in the cache, regardless of the process that stored it. */
  async #isThere(): Promise<boolean> {
    const file = await this.#options.files.open(this.#options.blob);
    if (file === undefined) return false;
    if (this.#file === undefined) this.#file = file;
    else await file.close();
    this.#finish();
    return true;
  }

  /** Writes the blob, from where an earlier fetch stopped. */
  async #fill(): Promise<void> {
    const { blob, supplier, files, room, source } = this.#options;
    const { signal } = this.#abandoned;
    const path = files.incomingPath(blob, supplier);
    // Discard the request of a process that has died.
    await this.#wantNothing();
    const openToWrite = (): Promise<FileHandle> => open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    if (this.#file !== undefined && !(await this.#isStill(path))) throw this.#beganAnew();
    this.#file ??= await this.#openIncoming(path);
    if (this.#file === undefined) {
      // A new file: who follows must see that it is not the one that was there.
      await rm(path, { force: true });
      const occupy = async (): Promise<void> => (await openToWrite()).close();
      const first = roomFor(0, blob.size);
      if (!(await room.reserve(first, occupy, blob.size))) throw noRoom();
    }

    const file = await openToWrite();
    try {
      this.#file ??= await openExisting(path);
      let hash: Hash | undefined;
      for (;;) {
        const { size: start } = await file.stat();
        this.#room = Math.max(this.#room, roomFor(start, blob.size));
        const rehashed = start === 0 ? undefined : await this.#rehash(file, start);
        hash = rehashed;
        const stream = await source.read(blob, { start, end: blob.size }, signal);
        // The source verifies a whole blob itself.
        const inspect = rehashed && ((chunk: Uint8Array): void => void rehashed.update(chunk));
        if (await this.#append(stream, file, start, inspect)) break;
        await this.#untilWanted();
      }
      if (hash !== undefined && finishDigest(hash, blob.digest) !== blob.digest) {
        throw new ServiceError(
          'content-mismatch',
          `The bytes received for ${blob.digest} do not match this digest.`,
        );
      }
      this.#finish();
      await files.commit(blob, supplier, file);
    } catch (error) {
      // Only by who has the lock: to whoever followed, the file may be another one already. Where it cannot be
      // removed, the next fetch finds out again.
      if (!this.#isWorthGoingOn(error)) await rm(path, { force: true }).catch(() => {});
      throw error;
    } finally {
      await file.close();
    }
  }

  /** Appends the received bytes, including those before a failure. Returns false if no reader wanted the rest. */
  async #append(
    stream: Readable,
    file: FileHandle,
    position: number,
    inspect: ((chunk: Uint8Array) => void) | undefined,
  ): Promise<boolean> {
    const interruption = new AbortController();
    let last = position;
    const onAppended = (end: number): void => {
      this.#payer(last)?.onFetched?.(end - last);
      last = end;
      this.#advance(end);
      this.#makeRoom();
      this.#regulate();
    };
    const appender = new FileAppender({ file, position, buffers: this.#options.buffers, onAppended });
    const written = finished(appender);
    written.catch((error: Error) => stream.destroy(error));
    this.#appender = appender;
    this.#interruption = interruption;
    this.#makeRoom();
    this.#regulate();
    // A stream that waits for the appender would not notice the abort itself.
    addAbortSignal(AbortSignal.any([this.#abandoned.signal, interruption.signal]), stream);
    try {
      await send(stream, appender, inspect);
      return true;
    } catch (error) {
      if (!interruption.signal.aborted) throw error;
      return false;
    } finally {
      this.#appender = undefined;
      this.#interruption = undefined;
      this.#keepConnection();
      this.#regulate();
      appender.end();
      await written;
    }
  }

  /** Makes room for what comes next. Ends the fetch where the cache has none. */
  async #makeRoom(): Promise<void> {
    const { blob, room } = this.#options;
    const wanted = roomFor(this.#received, blob.size);
    if (this.#isMakingRoom || wanted <= this.#room) return;
    this.#isMakingRoom = true;
    const hasRoom = await room.reserve(wanted - this.#room, async () => {}).catch(() => false);
    this.#isMakingRoom = false;
    if (!hasRoom) return void this.#appender?.destroy(noRoom());
    this.#room = wanted;
    this.#regulate();
  }

  /** Opens what an earlier fetch has left, or another process is writing; undefined where that is of no use. */
  async #openIncoming(path: string): Promise<FileHandle | undefined> {
    const file = await openExisting(path);
    if (file === undefined) return undefined;
    if (isUsable(this.#options.blob, await file.stat())) return file;
    await file.close();
    return undefined;
  }

  async #rehash(file: FileHandle, length: number): Promise<Hash> {
    const hash = digestHash(this.#options.blob.digest);
    const signal = this.#abandoned.signal;
    // Of a stream whose signal has aborted already, nobody would hear the error, and it would end the process.
    signal.throwIfAborted();
    const stream = file.createReadStream({ autoClose: false, start: 0, end: length - 1, signal });
    let position = 0;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      hash.update(chunk);
      position += chunk.length;
      this.#advance(position);
    }
    return hash;
  }

  /** Looks at what another process is writing. Ends well where that one has verified it, see {@link BlobFiles.commit}. */
  async #follow(): Promise<boolean> {
    const { blob, supplier, files } = this.#options;
    const path = files.incomingPath(blob, supplier);
    if (this.#file === undefined) this.#file = await this.#openIncoming(path);
    // Gone is good: it may have its final name now.
    else if ((await this.#isStill(path)) === false) throw this.#beganAnew();
    if (this.#file === undefined) return false;
    const { size, mtimeMs } = await this.#file.stat();
    const isVerified = size === blob.size && isSealed(blob.digest, mtimeMs);
    if (isVerified) this.#finish();
    else this.#advance(size);
    if (!isVerified) await this.#want(path);
    return isVerified;
  }

  /**
   * Requests bytes from the writer in another process. The caller repeats this, because processes may overwrite each
   * other's request.
   */
  async #want(path: string): Promise<void> {
    const reach = this.#reach();
    if (reach <= this.#received || reach <= this.#wantedElsewhere()) return;
    const file = await open(wantedOf(path), constants.O_WRONLY | constants.O_CREAT, 0o600);
    try {
      await file.truncate(reach);
    } finally {
      await file.close();
    }
  }

  /** Removes the request for bytes. Processes whose readers still want them repeat it. */
  async #wantNothing(): Promise<void> {
    const { blob, supplier, files } = this.#options;
    await rm(wantedOf(files.incomingPath(blob, supplier)), { force: true }).catch(() => {});
  }

  /** Tells whether a path is still the file whose bytes were sent; undefined if the file is gone. */
  async #isStill(path: string): Promise<boolean | undefined> {
    const now = await stat(path).catch(() => undefined);
    return now && now.ino === (await this.file.stat()).ino;
  }

  #beganAnew(): ServiceError {
    return new ServiceError('content-mismatch', `The fetch of ${this.#options.blob.digest} has restarted.`);
  }

  #advance(position: number): void {
    this.#received = Math.max(this.#received, position);
    if (this.#received > 0 || this.#isVerified) this.#begun.resolve();
    this.#notify();
  }

  #finish(): void {
    this.#isVerified = true;
    this.#advance(this.#options.blob.size);
  }

  /** Whether what came is right as far as it goes. */
  #isWorthGoingOn(error: unknown): boolean {
    if (this.#abandoned.signal.aborted) return true;
    return error instanceof ServiceError && !WRONG.has(error.code);
  }

  #explain(error: unknown): Error {
    if (this.#abandoned.signal.aborted) return this.#abandoned.signal.reason as Error;
    if (error instanceof ServiceError || error instanceof StorageFailure) return error;
    return new StorageFailure('The cache cannot be written', { cause: error });
  }

  #notify(): void {
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const call of listeners) call();
  }

  #closeUnused(): void {
    if (!this.#isOver || this.#demands.size > 0 || this.#file === undefined) return;
    const file = this.#file;
    this.#file = undefined;
    file.close().catch(() => {});
  }
}

function noRoom(): StorageFailure {
  return new StorageFailure('The cache has no room');
}

import type { Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { BufferPool } from '../buffer-pool.ts';
import { CatalogueError, type ErrorCode } from '../errors.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { digestHash, finishDigest } from '../oci/digest.ts';
import { send } from '../streams.ts';
import { type BlobFiles, isSealed, isUsable, lockOf, openExisting } from './blob-files.ts';
import { FileAppender } from './file-appender.ts';
import { tryLock } from './file-lock.ts';
import { type GrowingFile, StorageFailure } from './growing-file.ts';
import type { Room } from './room.ts';

export interface FetchOptions {
  readonly blob: Descriptor;
  /** Who sends it: its fetches, of all processes, are one. */
  readonly supplier: string;
  readonly files: BlobFiles;
  readonly room: Room;
  readonly buffers: BufferPool;
  readonly source: BlobReader;
  /** Called once, when nobody can join any more. */
  readonly onEnd: (error: Error | undefined) => void;
}

/** What is not the blob, whoever asks again. */
const WRONG: ReadonlySet<ErrorCode> = new Set(['content-mismatch', 'size-mismatch']);
/** The last bytes stay back until all are verified, so that what is wrong never looks whole. */
const HELD_BACK = 64 * 1024;
/** How much of a blob must be there for its fetch to go on though nobody waits for it. */
const WORTH_FINISHING = 0.75;
/** For how long it then goes on at most. */
const LINGER_MS = 3 * 60_000;
/** How often a fetch of another process is looked at. */
const POLL_MS = 25;

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
  #readers = 0;
  #lingering: NodeJS.Timeout | undefined;

  constructor(options: FetchOptions) {
    this.#options = options;
    // Whoever joins asks for it; nobody has to.
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

  /** Whether all of it is here, and right. */
  get isVerified(): boolean {
    return this.#isVerified;
  }

  onChange(call: () => void): () => void {
    this.#listeners.add(call);
    return () => this.#listeners.delete(call);
  }

  /**
   * Takes part: the fetch goes on for as long as somebody does. Waits for the first bytes; what comes back leaves.
   *
   * @throws StorageFailure where there is no file to read from; CatalogueError why nothing came
   */
  async join(signal: AbortSignal): Promise<() => void> {
    this.#readers += 1;
    clearTimeout(this.#lingering);
    const leave = (): void => {
      this.#readers -= 1;
      if (this.#readers === 0) this.#goOnAlone();
    };
    try {
      await unlessAborted(this.#begun.promise, signal);
    } catch (error) {
      leave();
      throw error;
    }
    return leave;
  }

  /**
   * Takes part without reading, until it is over or the signal aborts. Resolves when the first bytes are there.
   *
   * @throws as {@link join} does
   */
  async attend(signal: AbortSignal): Promise<void> {
    const leave = await this.join(signal);
    unlessAborted(this.#ended.promise, signal).then(leave, leave);
  }

  /** Goes on where that is soon over. */
  #goOnAlone(): void {
    if (this.#isOver) this.#closeUnused();
    if (this.#isOver || this.failure !== undefined) return;
    const isMostlyDone = this.#received >= this.#options.blob.size * WORTH_FINISHING;
    if (isMostlyDone) this.#lingering = setTimeout(() => this.#abandoned.abort(), LINGER_MS);
    else this.#abandoned.abort();
  }

  /** Ends it, whoever reads along; what came stays to be gone on with. What is complete gets its name before. */
  async close(): Promise<void> {
    if (!this.#isVerified) this.#abandoned.abort();
    await this.#ended.promise;
  }

  async #run(): Promise<void> {
    const { blob, supplier, files, onEnd } = this.#options;
    this.#abandoned.signal.addEventListener('abort', () => onEnd(undefined), { once: true });
    try {
      while (!(await this.#isThere())) {
        const lock = tryLock(lockOf(files.incomingPath(blob, supplier)));
        if (lock !== undefined) {
          try {
            if (!(await this.#isThere())) await this.#fill();
          } finally {
            lock.release();
          }
          break;
        }
        if (await this.#follow()) break;
        await delay(POLL_MS, undefined, { signal: this.#abandoned.signal });
      }
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

  /** Ends well where the blob is in the cache, whoever put it there. */
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
    const openToWrite = (): Promise<FileHandle> => open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    if (this.#file !== undefined && !(await this.#isStill(path))) throw this.#beganAnew();
    this.#file ??= await this.#openIncoming(path);
    if (this.#file === undefined) {
      // A new file: who follows must see that it is not the one that was there.
      await rm(path, { force: true });
      const occupy = async (): Promise<void> => (await openToWrite()).close();
      if (!(await room.reserve(blob.size, occupy))) throw new StorageFailure('The cache has no room');
    }

    const file = await openToWrite();
    try {
      this.#file ??= await openExisting(path);
      const { size: start } = await file.stat();
      const hash = start === 0 ? undefined : await this.#rehash(file, start);
      const stream = await source.read(blob, { start, end: blob.size }, signal);
      // A whole blob is verified by its source.
      await this.#append(stream, file, start, hash && ((chunk) => void hash.update(chunk)));
      if (hash !== undefined && finishDigest(hash, blob.digest) !== blob.digest) {
        throw new CatalogueError('content-mismatch', `What came for ${blob.digest} has another digest.`);
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

  /** Appends what comes, also what came before it fails. */
  async #append(
    stream: Readable,
    file: FileHandle,
    position: number,
    inspect: ((chunk: Uint8Array) => void) | undefined,
  ): Promise<void> {
    const onAppended = (end: number): void => this.#advance(end);
    const appender = new FileAppender({ file, position, buffers: this.#options.buffers, onAppended });
    const written = finished(appender);
    written.catch((error: Error) => stream.destroy(error));
    try {
      await send(stream, appender, inspect);
    } finally {
      appender.end();
      await written;
    }
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
    return isVerified;
  }

  /** Whether a path still is the file of which bytes were given away; undefined where it is none any more. */
  async #isStill(path: string): Promise<boolean | undefined> {
    const now = await stat(path).catch(() => undefined);
    return now && now.ino === (await this.file.stat()).ino;
  }

  #beganAnew(): CatalogueError {
    return new CatalogueError('content-mismatch', `The fetch of ${this.#options.blob.digest} began anew.`);
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
    return error instanceof CatalogueError && !WRONG.has(error.code);
  }

  #explain(error: unknown): Error {
    if (this.#abandoned.signal.aborted) return this.#abandoned.signal.reason as Error;
    if (error instanceof CatalogueError || error instanceof StorageFailure) return error;
    return new StorageFailure('The cache cannot be written', { cause: error });
  }

  #notify(): void {
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const call of listeners) call();
  }

  #closeUnused(): void {
    if (!this.#isOver || this.#readers > 0 || this.#file === undefined) return;
    const file = this.#file;
    this.#file = undefined;
    file.close().catch(() => {});
  }
}

async function unlessAborted(wanted: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    await Promise.race([aborted.promise, wanted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

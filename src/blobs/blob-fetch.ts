import { setTimeout as delay } from 'node:timers/promises';
import { ServiceError } from '../errors.ts';
import type { Approach, BlobReader, Demand } from '../oci/blob-reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { BufferPool } from '../util/buffer-pool.ts';
import { untilAborted } from '../util/until-aborted.ts';
import { type BlobFiles, lockOf } from './blob-files.ts';
import type { DiskQuota } from './disk-quota.ts';
import { followFetch } from './fetch-follower.ts';
import { FetchRegulator } from './fetch-regulator.ts';
import { writeFetch } from './fetch-writer.ts';
import { FetchedFile } from './fetched-file.ts';
import { tryLock } from './file-lock.ts';
import { StorageFailure } from './growing-file.ts';
import { isStillAt } from './incoming-file.ts';
import { createRecentBytes, type RecentBytes, type RecentBytesBudget } from './recent-bytes.ts';
import { type WantedBytes, wantedBytesOf } from './wanted-bytes.ts';

export interface FetchOptions {
  readonly blob: Descriptor;
  /** The registry. All processes share its fetch of this blob. */
  readonly supplier: string;
  readonly files: BlobFiles;
  readonly room: DiskQuota;
  readonly buffers: BufferPool;
  /** Shared by all fetches of the process. */
  readonly recentBudget: RecentBytesBudget;
  readonly source: BlobReader;
  /** Maximum bytes that the fetch may be ahead of its furthest reader. */
  readonly readAhead: number;
  /** Called once, when no reader can join any more. */
  readonly onEnd: (error: Error | undefined) => void;
}

/** The share of a blob that must be received for its fetch to continue without readers. */
const WORTH_FINISHING = 0.75;
/** Maximum milliseconds that such a fetch continues. */
const LINGER_MS = 3 * 60_000;
/** Maximum bytes of one fetch in memory. A reader that is further behind reads the file. */
const RECENT_BYTES = 2 * 1024 * 1024;
/** Milliseconds between two polls of a file that another process writes. */
const POLL_MS = 25;

/**
 * One fetch of one blob into the cache for all its readers. Readers of this process join it, other processes follow the
 * file. The holder of the lock writes. If the writer dies, a follower continues where it stopped.
 */
export class BlobFetch {
  /** The received bytes, for readers. */
  readonly content: FetchedFile;
  readonly #options: FetchOptions;
  readonly #path: string;
  readonly #wanted: WantedBytes;
  readonly #regulator: FetchRegulator;
  readonly #recent: RecentBytes;
  readonly #ended = Promise.withResolvers<void>();
  readonly #abandoned = new AbortController();
  #isOver = false;
  #lingering: NodeJS.Timeout | undefined;

  constructor(options: FetchOptions) {
    const { blob, supplier, files, readAhead, recentBudget: budget } = options;
    this.#options = options;
    this.#path = files.incomingPath(blob, supplier);
    this.#recent = createRecentBytes({
      ...{ budget, window: RECENT_BYTES },
      positions: () => this.#regulator.positions(),
      mustKeep: () => this.content.stored,
    });
    this.content = new FetchedFile(blob, this.#recent);
    this.#wanted = wantedBytesOf(this.#path, blob);
    this.#regulator = new FetchRegulator({ blob, readAhead, fetched: this.content, wanted: this.#wanted });
    this.#run();
  }

  /**
   * Adds a reader and waits for the first bytes. The fetch continues while it has a reader, within the read-ahead of
   * the furthest one.
   *
   * @returns a function that removes the reader
   * @throws StorageFailure if the file cannot be used; ServiceError if the fetch fails
   */
  async join(demand: Demand, signal: AbortSignal): Promise<() => void> {
    clearTimeout(this.#lingering);
    this.#regulator.add(demand);
    const leave = (): void => {
      this.#regulator.remove(demand);
      if (!this.#regulator.hasReaders) this.#goOnAlone();
    };
    try {
      await untilAborted(this.content.begun, signal);
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
    const ignore = approach.onChange(() => this.#regulator.update());
    const end = (): void => {
      ignore();
      leave();
    };
    untilAborted(this.#ended.promise, signal).then(end, end);
  }

  /** Continues a fetch that waited for its readers, because one has moved. */
  moved(): void {
    this.#regulator.moved();
  }

  /** Ends the fetch for all readers. The next fetch continues from the received bytes. A complete blob gets its name. */
  async close(): Promise<void> {
    if (!this.content.isVerified) this.#abandoned.abort();
    await this.#ended.promise;
  }

  /** Continues without readers if the rest is short. */
  #goOnAlone(): void {
    if (this.#isOver) this.content.close();
    if (this.#isOver || this.content.failure !== undefined) return;
    const { size } = this.#options.blob;
    const { received } = this.content;
    const isMostlyDone = received >= size * WORTH_FINISHING && size - received <= this.#regulator.readAhead;
    if (isMostlyDone) this.#lingering = setTimeout(() => this.#abandoned.abort(), LINGER_MS);
    else this.#abandoned.abort();
    this.#regulator.update();
  }

  async #run(): Promise<void> {
    const { onEnd } = this.#options;
    this.#abandoned.signal.addEventListener('abort', () => onEnd(undefined), { once: true });
    try {
      await this.#writeOrFollow().finally(() => this.#wanted.clear());
    } catch (error) {
      this.content.fail(this.#explain(error));
    }
    if (!this.#abandoned.signal.aborted) onEnd(this.content.failure);
    this.#isOver = true;
    clearTimeout(this.#lingering);
    this.#recent.clear();
    if (!this.#regulator.hasReaders) this.content.close();
    this.#ended.resolve();
  }

  async #writeOrFollow(): Promise<void> {
    const { signal } = this.#abandoned;
    const [path, fetched, regulator, wanted] = [this.#path, this.content, this.#regulator, this.#wanted];
    const parts = { path, fetched, regulator, wanted, recent: this.#recent, signal };
    while (!(await this.#finishFromCache())) {
      using lock = tryLock(lockOf(this.#path));
      if (lock !== undefined) {
        if (!(await this.#finishFromCache())) await writeFetch({ ...this.#options, ...parts });
        return;
      }
      if (await followFetch({ blob: this.#options.blob, ...parts })) return;
      await delay(POLL_MS, undefined, { signal });
    }
  }

  /** Finishes the fetch if the blob is in the cache, regardless of the process that stored it. */
  async #finishFromCache(): Promise<boolean> {
    const { blob, files } = this.#options;
    const { content } = this;
    const file = await files.open(blob);
    if (file === undefined) return false;
    if (content.available === 0) {
      content.close();
      content.open(file);
    } else {
      await file.close();
      // If another fetch has stored the blob, the incoming file that this one follows is neither complete nor verified.
      if (!(await isStillAt(files.blobPath(blob.digest), content.file))) return false;
    }
    content.finish();
    return true;
  }

  #explain(error: unknown): Error {
    if (this.#abandoned.signal.aborted) return this.#abandoned.signal.reason as Error;
    if (error instanceof ServiceError || error instanceof StorageFailure) return error;
    return new StorageFailure('The cache cannot be written', { cause: error });
  }
}

import type { Hash } from 'node:crypto';
import { Writable } from 'node:stream';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { digestHash } from '../oci/digest.ts';
import { destroyOnAbort } from '../util/aborted.ts';
import { DirectStream, send } from '../util/streams.ts';
import { untilAborted } from '../util/until-aborted.ts';
import type { GrowingFile } from './growing-file.ts';
import { createPatience, type Patience, type PatienceLimits } from './patience.ts';
import {
  createRecentBytes,
  type LentBytes,
  type RecentBytes,
  type RecentBytesBudget,
} from './recent-bytes.ts';

export interface SharedFetchOptions {
  readonly blob: Descriptor;
  readonly source: BlobReader;
  readonly budget: RecentBytesBudget;
  /** Limits how long readers that have sent all received bytes wait for slower ones. */
  readonly patience: PatienceLimits;
  /** Returns whether readers of the previous blob of an image will probably join soon. */
  readonly expectsReaders: () => boolean;
  /** Called when no more readers may join, because the last one has left or the fetch has failed. */
  readonly onEnd: () => void;
}

/** The hash of the first bytes of a blob. */
interface Checkpoint {
  /** The number of these bytes. */
  readonly at: number;
  readonly hash: Hash;
}

/** Bytes of one fetch that stay in memory, so that readers that start a little later, or are a little slower, join. */
const WINDOW = 8 * 1024 * 1024;
/** Bytes that are fetched ahead of the fastest reader. */
const AHEAD = 64 * 1024;
/**
 * The part of a wait that counts while most readers have bytes to send. Readers that share a busy processor take turns, so
 * they lose less time than they wait. The part is not zero, because the others may have stopped reading.
 */
const WEIGHT_OF_FEW = 0.2;
/** Maximum checkpoints of a blob, and minimum bytes between two of them. */
const [MOST_CHECKPOINTS, CHECKPOINT_BYTES] = [256, 1024 * 1024] as const;

/**
 * One fetch of a whole blob for several readers, without a file. It waits for slower readers that still need the oldest
 * bytes in memory. If the others have waited for too long, it continues at the pace of the fastest one.
 */
export class SharedFetch implements GrowingFile {
  readonly file = undefined;
  readonly #size: number;
  readonly #recent: RecentBytes;
  readonly #readers = new Set<{ readonly position: number }>();
  readonly #listeners = new Set<() => void>();
  readonly #abandoned = new AbortController();
  readonly #begun: Promise<void>;
  readonly #budget: RecentBytesBudget;
  readonly #patience: Patience;
  readonly #expectsReaders: () => boolean;
  readonly #onEnd: () => void;
  readonly #checkpoints: Checkpoint[];
  #received = 0;
  /** The fetch waits for no reader before this position. */
  #waitsFrom = 0;
  #failure: Error | undefined;
  /** Set while the fetch waits for its readers. */
  #sink: ChunkSink | undefined;

  constructor({ blob, source, budget, patience, expectsReaders, onEnd }: SharedFetchOptions) {
    this.#size = blob.size;
    this.#budget = budget;
    this.#patience = createPatience(patience, () => {
      this.#passSlowest();
      this.moved();
    });
    this.#expectsReaders = expectsReaders;
    this.#onEnd = onEnd;
    this.#checkpoints = [{ at: 0, hash: digestHash(blob.digest) }];
    this.#recent = createRecentBytes({
      budget,
      window: WINDOW,
      positions: () => this.#neededPositions(),
      mustKeep: () => this.#slowest(),
    });
    const begun = Promise.withResolvers<void>();
    this.#begun = begun.promise;
    this.#begun.catch(() => {});
    this.#run(blob, source, begun.resolve).catch((error: Error) => {
      this.#failure = error;
      onEnd();
      begun.reject(error);
      this.#notify();
    });
  }

  get available(): number {
    return this.#received;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Set while a new reader can join, because the first bytes are in memory. */
  get hasStart(): boolean {
    return this.#received === 0 || this.#recent.has(0);
  }

  /** Set once the source has sent the whole blob. */
  get isReceived(): boolean {
    return this.#received === this.#size;
  }

  lend(position: number): LentBytes | undefined {
    return this.#recent.lend(position);
  }

  onChange(call: () => void): () => void {
    this.#listeners.add(call);
    // More readers wait now, which may end the patience. The listener must be complete before it is called.
    if (this.#sink !== undefined) queueMicrotask(() => this.moved());
    return () => this.#listeners.delete(call);
  }

  /**
   * Adds a reader and waits until the source has opened the blob. The fetch ends when its last reader leaves.
   *
   * @returns a function that removes the reader
   * @throws the error of the source
   */
  async join(reader: { readonly position: number }, signal: AbortSignal): Promise<() => void> {
    this.#readers.add(reader);
    const leave = (): void => {
      if (!this.#readers.delete(reader)) return;
      if (this.#readers.size > 0) {
        this.moved();
        return;
      }
      this.#onEnd();
      this.#patience.update(0);
      this.#abandoned.abort();
      this.#recent.clear();
    };
    try {
      await untilAborted(this.#begun, signal);
    } catch (error) {
      leave();
      throw error;
    }
    return leave;
  }

  /** Continues a fetch that waited for its readers, because one has moved. */
  moved(): void {
    const sink = this.#sink;
    if (sink === undefined || !this.#regulate()) return;
    this.#sink = undefined;
    sink.emit('drain');
  }

  /** Returns the last checkpoint at or before a position. */
  checkpoint(position: number): Checkpoint {
    return this.#checkpoints.findLast(({ at }) => at <= position) as Checkpoint;
  }

  async #run(blob: Descriptor, source: BlobReader, onBegun: () => void): Promise<void> {
    const stream = await source.read(blob, undefined, this.#abandoned.signal);
    const sink = new ChunkSink((chunk, release) => {
      const start = this.#received;
      this.#received += chunk.length;
      this.#recent.add(start, chunk, release);
      this.#note(stream instanceof DirectStream ? stream.hashSoFar() : undefined);
      this.#notify();
      const isWanted = this.#regulate();
      if (!isWanted) this.#sink = sink;
      return isWanted;
    });
    // A stream that waits for the sink would not notice the abort itself.
    destroyOnAbort(this.#abandoned.signal, stream);
    onBegun();
    await send(stream, sink);
  }

  #note(hash: Hash | undefined): void {
    const step = Math.max(this.#size / MOST_CHECKPOINTS, CHECKPOINT_BYTES);
    const last = this.#checkpoints.at(-1)?.at ?? 0;
    // The hash of the whole blob is finished, and no reader continues from there.
    if (hash !== undefined && this.#received < this.#size && this.#received - last >= step)
      this.#checkpoints.push({ at: this.#received, hash: hash.copy() });
  }

  /**
   * Returns whether the fetch continues: the fastest reader wants more, and no slower one still needs the oldest bytes
   * in memory.
   */
  #regulate(): boolean {
    const isWanted = this.#received < this.#furthest() + AHEAD;
    const isHeld = isWanted && this.#received - this.#slowest() >= WINDOW;
    const weight = 2 * this.#listeners.size >= this.#readers.size ? 1 : WEIGHT_OF_FEW;
    if (this.#patience.update(isHeld ? weight : 0)) return isWanted && !isHeld;
    this.#passSlowest();
    return true;
  }

  /** Stops waiting for the slowest readers. */
  #passSlowest(): void {
    this.#patience.update(0);
    this.#waitsFrom = this.#received - WINDOW / 2;
  }

  /** Returns the position of the slowest reader that the fetch waits for. */
  #slowest(): number {
    let slowest = this.#furthest();
    if (this.#budget.held > this.#budget.limit) return slowest;
    if (this.#waitsFrom === 0 && this.#recent.has(0) && this.#expectsReaders()) return 0;
    for (const { position } of this.#readers) {
      if (position >= this.#waitsFrom && this.#recent.has(position)) slowest = Math.min(slowest, position);
    }
    return slowest;
  }

  #furthest(): number {
    let furthest = 0;
    for (const { position } of this.#readers) furthest = Math.max(furthest, position);
    return furthest;
  }

  /** Returns where readers are, and where new ones can join. */
  *#neededPositions(): Generator<number> {
    if (this.#recent.has(0)) yield 0;
    for (const { position } of this.#readers) yield position;
  }

  #notify(): void {
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const call of listeners) call();
  }
}

/** Takes chunks without a copy. Calls the callback of a chunk when its memory may be used again. */
class ChunkSink extends Writable {
  readonly #take: (chunk: Buffer, release: () => void) => boolean;

  constructor(take: (chunk: Buffer, release: () => void) => boolean) {
    super();
    this.#take = take;
  }

  override write(chunk: unknown, ...rest: unknown[]): boolean {
    const release = rest.find((one): one is () => void => typeof one === 'function') ?? (() => {});
    return this.#take(chunk as Buffer, release);
  }
}

import type { Demand } from '../oci/blob-reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { untilAborted } from '../util/until-aborted.ts';
import type { FetchedFile } from './fetched-file.ts';
import type { WantedBytes } from './wanted-bytes.ts';

export interface FetchRegulatorOptions {
  readonly blob: Descriptor;
  /** Maximum bytes that the fetch may be ahead of its furthest reader. */
  readonly readAhead: number;
  readonly fetched: FetchedFile;
  readonly wanted: WantedBytes;
}

/** The part of a fetch that receives bytes over one connection. */
export interface Connection {
  /** Sets the position up to which the fetch may continue. */
  limit(position: number): void;
  /** Closes the connection. */
  interrupt(): void;
}

/** Milliseconds between the first polls for readers of other processes. */
const POLL_MS = 25;
/** Longest pause between such polls. A waiting fetch polls less and less often. */
const RAREST_POLL_MS = 250;
/** Bytes that are fetched for any reader, because only received bytes show that the blob is available. */
const BEGINNING = 64 * 1024;
/**
 * A harmful fetch closes its connection if more than this many bytes are missing. Closing costs the registry a range
 * request, which a smaller rest does not repay.
 */
const WORTH_CLOSING = 32 * 1024 * 1024;
/** Bytes. A fetch with fewer has only shown that its blob is available, and waits for its turn. */
const STARTED = 256 * 1024;
/** Minimum read-ahead in bytes. With less, readers would stall before the last bytes, which are held back. */
const LEAST_READ_AHEAD = 1024 * 1024;

/** Keeps a fetch within the read-ahead of its furthest reader, in all processes, and within the space of the cache. */
export class FetchRegulator {
  readonly readAhead: number;
  readonly #size: number;
  readonly #fetched: FetchedFile;
  readonly #wanted: WantedBytes;
  /** The readers, from the oldest to the newest. */
  readonly #demands = new Set<Demand>();
  /** Bytes of the blob for which the cache has space. */
  #space = 0;
  #connection: Connection | undefined;
  #poll: NodeJS.Timeout | undefined;
  #pollMs = POLL_MS;
  /** Set while the fetch has no connection, because no reader wants any bytes. */
  #goOn: (() => void) | undefined;

  constructor({ blob, readAhead, fetched, wanted }: FetchRegulatorOptions) {
    this.readAhead = Math.max(readAhead, LEAST_READ_AHEAD);
    this.#size = blob.size;
    this.#fetched = fetched;
    this.#wanted = wanted;
  }

  get hasReaders(): boolean {
    return this.#demands.size > 0;
  }

  /** Returns the offsets of the readers in the blob. */
  *positions(): Generator<number> {
    for (const { position } of this.#demands) yield position;
  }

  add(demand: Demand): void {
    this.#demands.add(demand);
    this.update();
  }

  /** Removes a reader. After the last one, the caller decides whether the fetch continues. */
  remove(demand: Demand): void {
    this.#demands.delete(demand);
    if (this.hasReaders) this.update();
  }

  /** Continues a fetch that waited for its readers, because one has moved. */
  moved(): void {
    if (this.#poll !== undefined) this.update();
  }

  /** Starts to regulate a connection. Returns a function that ends it. */
  connect(connection: Connection): () => void {
    this.#connection = connection;
    this.update();
    return () => {
      this.#connection = undefined;
      this.update();
    };
  }

  get space(): number {
    return this.#space;
  }

  /** Lets the fetch fill more space of the cache. */
  set space(bytes: number) {
    this.#space = Math.max(this.#space, bytes);
    this.update();
  }

  /** Waits until a reader wants bytes that are missing. */
  async untilWanted(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#goOn = resolve;
    this.update();
    await untilAborted(promise, signal);
    this.#goOn = undefined;
  }

  /** Returns the number of bytes of the blob that readers of this process want now. */
  reach(): number {
    // A fetch without readers is aborted, unless it is almost complete. Then it needs all bytes.
    if (this.#demands.size === 0) return this.#size;
    let furthest = Number.NEGATIVE_INFINITY;
    for (const { position } of this.#demands) furthest = Math.max(furthest, position);
    return Math.min(Math.max(furthest + this.readAhead, BEGINNING), this.#size);
  }

  /** Returns the oldest reader that wants the byte at a position; undefined if only another process wants it. */
  payer(at: number): Demand | undefined {
    for (const demand of this.#demands) if (at < demand.position + this.readAhead) return demand;
    return undefined;
  }

  /** Sets the position up to which the fetch may continue, by its readers in all processes. */
  update(): void {
    clearTimeout(this.#poll);
    this.#poll = undefined;
    if (this.#connection === undefined && this.#goOn === undefined) return;
    const { received } = this.#fetched;
    let reach = this.reach();
    if (received >= reach) reach = Math.max(reach, this.#wanted.read());
    const limit = Math.min(reach, this.#space);
    // Without a limit for the last bytes, because the response ends only after all of it is read.
    this.#connection?.limit(limit >= this.#size ? Number.POSITIVE_INFINITY : limit);
    const missing = this.#size - received;
    const isWorthClosing = received >= STARTED && missing > Math.min(WORTH_CLOSING, this.readAhead);
    if (isWorthClosing && reach <= BEGINNING && this.#isHarmful()) this.#connection?.interrupt();
    if (received < reach) {
      this.#pollMs = POLL_MS;
      this.#goOn?.();
      return;
    }
    this.#poll = setTimeout(() => this.update(), this.#pollMs).unref();
    this.#pollMs = Math.min(2 * this.#pollMs, RAREST_POLL_MS);
  }

  #isHarmful(): boolean {
    for (const { isHarmful } of this.#demands) if (!isHarmful) return false;
    return true;
  }
}

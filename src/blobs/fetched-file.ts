import type { FileHandle } from 'node:fs/promises';
import type { Descriptor } from '../oci/descriptor.ts';
import { untilAborted } from '../util/until-aborted.ts';
import type { GrowingFile } from './growing-file.ts';
import type { LentBytes, RecentBytes } from './recent-bytes.ts';

/** Bytes at the end that are held back until all are verified, so that wrong content never looks complete. */
const HELD_BACK = 64 * 1024;

/** The file that one fetch fills or follows, from the perspective of its readers. */
export class FetchedFile implements GrowingFile {
  readonly #size: number;
  readonly #recent: RecentBytes;
  /** Settled when the first bytes have arrived, or the fetch has failed. */
  readonly #begun = Promise.withResolvers<void>();
  readonly #listeners = new Set<() => void>();
  #handle: FileHandle | undefined;
  #failure: Error | undefined;
  #received = 0;
  #stored = 0;
  #isVerified = false;

  constructor({ size }: Pick<Descriptor, 'size'>, recent: RecentBytes) {
    this.#size = size;
    this.#recent = recent;
    // Each reader that joins gets the failure. Without readers, the rejection must not end the process.
    this.#begun.promise.catch(() => {});
  }

  get file(): FileHandle {
    if (this.#handle === undefined) throw new TypeError('The file is not open yet');
    return this.#handle;
  }

  get isOpen(): boolean {
    return this.#handle !== undefined;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  get received(): number {
    return this.#received;
  }

  /** The bytes from the start that are in the file. Readers get the other received bytes from memory. */
  get stored(): number {
    return this.#stored;
  }

  get available(): number {
    return this.#isVerified ? this.#size : Math.max(Math.min(this.#received, this.#size - HELD_BACK), 0);
  }

  /** Set if the whole blob is received and verified. */
  get isVerified(): boolean {
    return this.#isVerified;
  }

  /** Resolves with the first bytes; rejects with the failure of a fetch that got none. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  lend(position: number): LentBytes | undefined {
    return this.#recent.lend(position);
  }

  onChange(call: () => void): () => void {
    this.#listeners.add(call);
    return () => this.#listeners.delete(call);
  }

  /**
   * Waits until the byte at a position may be read.
   *
   * @throws the failure of the fetch; the reason of the signal
   */
  async untilAvailable(position: number, signal: AbortSignal): Promise<void> {
    while (this.available <= position) {
      if (this.#failure !== undefined) throw this.#failure;
      const { promise, resolve } = Promise.withResolvers<void>();
      const ignore = this.onChange(resolve);
      await untilAborted(promise, signal).finally(ignore);
    }
  }

  /** Takes the handle that readers use. */
  open(handle: FileHandle): void {
    this.#handle = handle;
  }

  /** Notes that all bytes before a position are in the file or in memory. */
  receive(position: number): void {
    this.#received = Math.max(this.#received, position);
    if (this.#received > 0 || this.#isVerified) this.#begun.resolve();
    this.#notify();
  }

  /** Notes that all bytes before a position are in the file. */
  advance(position: number): void {
    this.#stored = Math.max(this.#stored, position);
    this.receive(position);
  }

  /** Notes that the file is the blob. */
  finish(): void {
    this.#isVerified = true;
    this.advance(this.#size);
  }

  fail(failure: Error): void {
    this.#failure = failure;
    // The other bytes are only in memory, which ends with the fetch.
    this.#received = this.#stored;
    this.#begun.reject(failure);
    this.#notify();
  }

  close(): void {
    const handle = this.#handle;
    this.#handle = undefined;
    handle?.close().catch(() => {});
  }

  #notify(): void {
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const call of listeners) call();
  }
}

import type { Hash } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { detail } from '../errors/details.ts';
import { type ErrorCode, ServiceError } from '../errors.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { digestHash, finishDigest } from '../oci/digest.ts';
import { destroyOnAbort } from '../util/aborted.ts';
import type { BufferPool } from '../util/buffer-pool.ts';
import { send } from '../util/streams.ts';
import { type BlobFiles, openExisting, roomFor } from './blob-files.ts';
import type { DiskQuota } from './disk-quota.ts';
import type { FetchRegulator } from './fetch-regulator.ts';
import type { FetchedFile } from './fetched-file.ts';
import { FileAppender } from './file-appender.ts';
import { StorageFailure } from './growing-file.ts';
import { isStillAt, openIncoming, restarted } from './incoming-file.ts';
import type { RecentBytes } from './recent-bytes.ts';
import type { WantedBytes } from './wanted-bytes.ts';

export interface FetchWriterOptions {
  readonly blob: Descriptor;
  readonly supplier: string;
  readonly files: BlobFiles;
  /** The incoming file. */
  readonly path: string;
  readonly room: DiskQuota;
  readonly buffers: BufferPool;
  readonly recent: RecentBytes;
  readonly source: BlobReader;
  readonly fetched: FetchedFile;
  readonly regulator: FetchRegulator;
  readonly wanted: WantedBytes;
  readonly signal: AbortSignal;
}

const TO_WRITE = constants.O_RDWR | constants.O_CREAT;
/** Errors that prove the received bytes wrong, so that no later fetch may continue from them. */
const WRONG: ReadonlySet<ErrorCode> = new Set(['content-mismatch', 'size-mismatch']);

/**
 * Writes a blob to its incoming file, from the end of an earlier fetch on, verifies it, and gives it its final name. The
 * caller holds the lock of the file.
 *
 * @throws StorageFailure if the cache has no space; errors of the file system and of the source
 */
export async function writeFetch(options: FetchWriterOptions): Promise<void> {
  const { blob, supplier, files, path, room, fetched, wanted, signal } = options;
  // Discard the request of a process that has died.
  await wanted.clear();
  if (fetched.isOpen && !(await isStillAt(path, fetched.file))) throw restarted(blob);
  const earlier = fetched.isOpen ? fetched.file : await openIncoming(path, blob);
  if (earlier !== undefined) fetched.open(earlier);
  else {
    // Processes that follow the old file must notice that this is a new one.
    await rm(path, { force: true });
    const occupy = (): void => closeSync(openSync(path, TO_WRITE, 0o600));
    const first = roomFor(0, blob.size);
    if (!(await room.reserve(first, occupy, blob.size))) throw noRoom();
  }

  const file = await open(path, TO_WRITE, 0o600);
  try {
    const created = fetched.isOpen ? undefined : await openExisting(path);
    if (created !== undefined) fetched.open(created);
    await new FetchWriter(options, file).fill();
    fetched.finish();
    await files.commit(blob, supplier, file);
  } catch (error) {
    // Only the holder of the lock may remove the file, because a process that follows may see another one. If it cannot
    // be removed, the next fetch finds the mistake again.
    if (!signal.aborted && isWrong(error)) await rm(path, { force: true }).catch(() => {});
    throw error;
  } finally {
    await file.close();
  }
}

class FetchWriter {
  readonly #options: FetchWriterOptions;
  readonly #file: FileHandle;
  #isMakingRoom = false;
  /** Set while bytes are received. */
  #appender: FileAppender | undefined;

  constructor(options: FetchWriterOptions, file: FileHandle) {
    this.#options = options;
    this.#file = file;
  }

  async fill(): Promise<void> {
    const { blob, source, regulator, signal } = this.#options;
    let hash: Hash | undefined;
    for (;;) {
      const { size: start } = await this.#file.stat();
      regulator.space = roomFor(start, blob.size);
      const rehashed = start === 0 ? undefined : await this.#rehash(start);
      hash = rehashed;
      const stream = await source.read(blob, { start, end: blob.size }, signal);
      // The source verifies a whole blob itself.
      const inspect = rehashed && ((chunk: Uint8Array): void => void rehashed.update(chunk));
      if (await this.#append(stream, start, inspect)) break;
      await regulator.untilWanted(signal);
    }
    if (hash === undefined || finishDigest(hash, blob.digest) === blob.digest) return;
    throw new ServiceError('content-mismatch', detail('content-wrong', { digest: blob.digest }));
  }

  /** Appends the received bytes, including those before a failure. Returns false if no reader wanted the rest. */
  async #append(
    stream: Readable,
    position: number,
    inspect: ((chunk: Uint8Array) => void) | undefined,
  ): Promise<boolean> {
    const { buffers, recent, fetched, regulator, signal } = this.#options;
    const interruption = new AbortController();
    let last = position;
    const onReceived = (end: number): void => {
      regulator.payer(last)?.onFetched?.(end - last);
      last = end;
      fetched.receive(end);
      this.#makeRoom();
      regulator.update();
    };
    const onAppended = (end: number): void => {
      fetched.advance(end);
      recent.trim();
    };
    const callbacks = { onReceived, onAppended };
    const appender = new FileAppender({ file: this.#file, position, buffers, recent, ...callbacks });
    const written = finished(appender);
    written.catch((error: Error) => stream.destroy(error));
    this.#appender = appender;
    this.#makeRoom();
    const disconnect = regulator.connect({
      limit: (end) => {
        appender.limit = end;
      },
      interrupt: () => interruption.abort(),
    });
    // A stream that waits for the appender would not notice the abort itself.
    destroyOnAbort(AbortSignal.any([signal, interruption.signal]), stream);
    try {
      await send(stream, appender, inspect);
      return true;
    } catch (error) {
      if (!interruption.signal.aborted) throw error;
      return false;
    } finally {
      this.#appender = undefined;
      disconnect();
      appender.end();
      await written;
    }
  }

  /** Reserves space for the next bytes. Ends the fetch if the cache is full. */
  async #makeRoom(): Promise<void> {
    const { blob, room, fetched, regulator } = this.#options;
    const needed = roomFor(fetched.received, blob.size);
    if (this.#isMakingRoom || needed <= regulator.space) return;
    this.#isMakingRoom = true;
    const hasRoom = await room.reserve(needed - regulator.space, () => {}).catch(() => false);
    this.#isMakingRoom = false;
    if (hasRoom) regulator.space = needed;
    else this.#appender?.destroy(noRoom());
  }

  async #rehash(length: number): Promise<Hash> {
    const { blob, fetched, signal } = this.#options;
    const hash = digestHash(blob.digest);
    // A stream with an aborted signal emits its error before it has a listener, which would end the process.
    signal.throwIfAborted();
    const stream = this.#file.createReadStream({ autoClose: false, start: 0, end: length - 1, signal });
    let position = 0;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      hash.update(chunk);
      position += chunk.length;
      fetched.advance(position);
    }
    return hash;
  }
}

function isWrong(error: unknown): boolean {
  return !(error instanceof ServiceError) || WRONG.has(error.code);
}

function noRoom(): StorageFailure {
  return new StorageFailure('The cache has no room');
}

import { createHash, randomUUID } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import type { ByteRange } from '../oci/descriptor.ts';
import { relay } from '../util/streams.ts';
import type { Storage } from './blob-cache.ts';
import { isMissing, lockOf } from './blob-files.ts';
import { FileAppender } from './file-appender.ts';
import { tryLock } from './file-lock.ts';
import { FileStream, StorageFailure } from './growing-file.ts';

/** A file that is created once and read in any part, until its eviction. */
export interface Spool {
  /** Bytes. */
  readonly size: number;
  /** A strong validator, quotes included: the same only for the same bytes. */
  readonly etag: string;
  /** Keeps it from eviction until the signal aborts. */
  hold(signal: AbortSignal): void;
  /** Streams the file or a range of it. Fails with ServiceError `engine-failed` if the file was removed. */
  read(range: ByteRange | undefined, signal: AbortSignal): Readable;
}

export interface SpoolRequest {
  /** Lowercase hex digits: a hash of everything that the content depends on. */
  readonly key: string;
  /** The expected number of bytes, which are reserved before the first one arrives. */
  readonly expected: number;
  /** Bytes at most. */
  readonly maxSize: number;
  /** Called with the number of received bytes. */
  readonly onProgress: (bytes: number) => void;
}

/**
 * Keeps streams that cannot be asked for in parts, as files in the folder of the cache:
 *
 *     spools/<key>.<size>.<sha256>      a whole one, with what it must be in its name
 *     incoming/spool-<uuid>.<size>      one that is written, and how large it is expected to be
 *
 * A name in spools/ is given only to what is complete and on the disk, so a process may be killed at any moment.
 */
export interface Spools {
  /** Finds a file; undefined if absent. */
  find(key: string): Promise<Spool | undefined>;
  /**
   * Writes a stream to a file.
   *
   * @throws StorageFailure if the disk has no room; ServiceError `image-too-large`; the error of the stream
   */
  fill(request: SpoolRequest, source: Readable, signal: AbortSignal): Promise<Spool>;
}

/** The limits of a further reservation, in bytes. It doubles the file, within these limits. */
const [LEAST_FURTHER, MOST_FURTHER] = [1024 * 1024, 64 * 1024 * 1024] as const;

export async function openSpools(storage: Storage): Promise<Spools> {
  const folder = join(storage.folder, 'spools');
  const incomingFolder = join(storage.folder, 'incoming');
  // Before each use, because the folder of the cache may be deleted at any time.
  const makeFolders = async (): Promise<void> => {
    for (const path of [folder, incomingFolder]) await mkdir(path, { recursive: true, mode: 0o700 });
  };
  await makeFolders();

  const spoolAt = (name: string): Spool | undefined => {
    const [, key = '', size, hash] = /^([0-9a-f]+)\.(\d+)\.([0-9a-f]{64})$/.exec(name) ?? [];
    if (hash === undefined) return undefined;
    const path = join(folder, name);
    const bytes = Number(size);
    return {
      size: bytes,
      etag: `"e-${key.slice(0, 16)}-${hash}"`,
      hold(signal) {
        const release = storage.hold(path);
        if (signal.aborted) release();
        else signal.addEventListener('abort', release, { once: true });
      },
      read: (range = { start: 0, end: bytes }, signal) => readFile(storage, path, range, signal),
    };
  };

  return {
    async find(key) {
      const names = await readdir(folder).catch(() => []);
      const name = names.find((candidate) => candidate.startsWith(`${key}.`));
      const spool = name === undefined ? undefined : spoolAt(name);
      if (name === undefined || spool === undefined) return undefined;
      const path = join(folder, name);
      try {
        const { size, mtime } = await stat(path);
        if (size === spool.size) {
          await utimes(path, new Date(), mtime);
          return spool;
        }
        await rm(path, { force: true });
      } catch {
        // Another process evicted it meanwhile.
      }
      return undefined;
    },

    async fill({ key, expected, maxSize, onProgress }, source, signal) {
      const incoming = join(incomingFolder, `spool-${randomUUID()}.${expected}`);
      let opened: FileHandle | undefined;
      using held = new DisposableStack();
      held.defer(storage.hold(incoming));
      try {
        const occupy = (): void => closeSync(openSync(incoming, 'wx', 0o600));
        await makeFolders();
        held.use(tryLock(lockOf(incoming)));
        const hasRoom = await storage.reserve(expected, occupy);
        if (!hasRoom) throw new StorageFailure('The cache has no room');
        opened = await open(incoming, 'r+');
        const hash = createHash('sha256');
        let size = 0;
        let reserved = expected;
        const inspect = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
          for await (const chunk of chunks) {
            size += chunk.length;
            if (size > maxSize) throw tooLarge(maxSize);
            if (size > reserved) {
              const further = Math.min(Math.max(size, LEAST_FURTHER), MOST_FURTHER);
              if (!(await storage.reserve(further, () => {})))
                throw new StorageFailure('The cache has no room');
              reserved += further;
            }
            hash.update(chunk);
            yield chunk;
          }
        };
        const { buffers } = storage;
        const appender = new FileAppender({ file: opened, position: 0, buffers, onAppended: onProgress });
        await pipeline(source, inspect, appender, { signal });
        await opened.datasync();
        // The save may have taken long, but the file counts as used from now on.
        await opened.utimes(new Date(), new Date());
        const name = `${key}.${size}.${hash.digest('hex')}`;
        await rename(incoming, join(folder, name));
        const spool = spoolAt(name);
        if (spool === undefined) throw new TypeError(`${key} is not the key of a spool`);
        return spool;
      } catch (error) {
        source.destroy();
        await rm(incoming, { force: true });
        throw isOfDisk(error) ? new StorageFailure('The cache cannot be written', { cause: error }) : error;
      } finally {
        await opened?.close();
      }
    },
  };
}

/** Creates the error for an archive above the operator's limit. */
export function tooLarge(maxSize: number): ServiceError {
  return new ServiceError('image-too-large', detail('archive-exceeded', { limit: maxSize }));
}

function wentAway(cause: unknown): ServiceError {
  return new ServiceError('engine-failed', detail('archive-removed', {}), { cause });
}

function readFile(storage: Storage, path: string, range: ByteRange, signal: AbortSignal): Readable {
  return relay(async function* (ended) {
    const release = storage.hold(path);
    const file = await open(path, constants.O_RDONLY).catch((error: unknown) => {
      release();
      throw isMissing(error) ? wentAway(error) : error;
    });
    const onClose = (): void => {
      release();
      file.close().catch(() => {});
    };
    const source = { file, available: range.end, failure: undefined, onChange: () => () => {} };
    const { buffers, paces } = storage;
    yield new FileStream({ source, range, buffers, paces, signal: ended, onClose });
  }, signal);
}

/** https://nodejs.org/api/errors.html#errorsyscall: errors of the file system have a `syscall` and no `address`. */
function isOfDisk(error: unknown): boolean {
  return (
    error instanceof Error &&
    'syscall' in error &&
    /^(?:open|write|writev|fdatasync|futime|rename|mkdir|statfs)$/.test(`${error.syscall}`)
  );
}

import { createCipheriv, createHash } from 'node:crypto';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type BlobCache, openBlobCache } from '../../src/blobs/blob-cache.ts';
import { detail } from '../../src/errors/details.ts';
import { ServiceError } from '../../src/errors.ts';
import type { BlobReader } from '../../src/oci/blob-reader.ts';
import type { ByteRange, Descriptor } from '../../src/oci/descriptor.ts';
import { type Digest, sha256 } from '../../src/oci/digest.ts';
import type { MemoryCaches } from '../../src/util/memory-caches.ts';
import { streamFrom } from '../../src/util/streams.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

/** Never aborted. */
export const always = new AbortController().signal;

export interface SampleBlob {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

/** A blob of random bytes, the same for the same seed. */
export function sampleBlob(size: number, seed: string): SampleBlob {
  const key = createHash('sha256').update(seed).digest();
  const bytes = createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
  return { descriptor: { mediaType: 'application/octet-stream', digest: sha256(bytes), size }, bytes };
}

/** The outcome of a read; offsets count bytes of the blob. */
export interface Behaviour {
  /** Sends the bytes before `at`, and the rest when the promise settles. */
  readonly hold?: { readonly at: number; readonly until: Promise<unknown> };
  /** Fails after the bytes before `at`. */
  readonly fail?: { readonly at: number; readonly error: Error };
  /** Inverts one bit of the byte at this offset. */
  readonly flip?: number;
}

export interface SourceRead {
  readonly digest: Digest;
  readonly range: ByteRange;
  /** Bytes sent so far. */
  given: number;
  state: 'open' | 'ended' | 'failed' | 'aborted';
}

export interface MemorySource extends BlobReader {
  readonly reads: SourceRead[];
  /** Sets the behavior of all further reads. */
  behave(decide: ((read: SourceRead) => Behaviour | undefined) | undefined): void;
  /** Holds all further reads at an offset, until the returned function is called. */
  holdAt(at: number): () => void;
}

const CHUNK = 64 * 1024;

/** Blobs from memory with the guarantees of BlobReader: a whole blob is verified before its last bytes are sent. */
export function memorySource(...blobs: readonly SampleBlob[]): MemorySource {
  const contents = new Map(blobs.map(({ descriptor, bytes }) => [descriptor.digest, bytes]));
  const reads: SourceRead[] = [];
  let decide: ((read: SourceRead) => Behaviour | undefined) | undefined;
  return {
    reads,
    behave: (next) => {
      decide = next;
    },
    holdAt: (at) => {
      const gate = Promise.withResolvers<void>();
      decide = () => ({ hold: { at, until: gate.promise } });
      return gate.resolve;
    },
    async read(blob, range = { start: 0, end: blob.size }, signal) {
      const read: SourceRead = { digest: blob.digest, range, given: 0, state: 'open' };
      reads.push(read);
      const { hold, fail, flip } = decide?.(read) ?? {};
      const content = contents.get(blob.digest);
      if (content === undefined)
        throw new ServiceError(
          'layer-unavailable',
          detail('blob-missing', { host: 'a.io', digest: blob.digest }),
        );
      const bytes = Buffer.from(content);
      if (flip !== undefined) bytes[flip] = (bytes[flip] ?? 0) ^ 1;
      const isWhole = range.start === 0 && range.end === blob.size;
      const generate = async function* (ended: AbortSignal): AsyncGenerator<Buffer, void> {
        try {
          let at = range.start;
          while (at < range.end) {
            if (at === hold?.at) await unlessAborted(hold.until, ended);
            if (at === fail?.at) throw fail.error;
            if (blob.size !== content.length) {
              throw new ServiceError(
                'content-mismatch',
                detail('blob-length-wrong', { digest: blob.digest }),
              );
            }
            const stop = Math.min(...[hold?.at, fail?.at].filter((stop) => (stop ?? 0) > at).map(Number));
            const end = Math.min(at + CHUNK, range.end, stop);
            if (isWhole && end === range.end && sha256(bytes) !== blob.digest) {
              throw new ServiceError('content-mismatch', detail('content-wrong', { digest: blob.digest }));
            }
            read.given += end - at;
            yield bytes.subarray(at, end);
            at = end;
          }
          read.state = 'ended';
        } catch (error) {
          read.state = ended.aborted ? 'aborted' : 'failed';
          throw error;
        }
      };
      const stream = streamFrom(generate, signal);
      stream.once('close', () => {
        if (read.state === 'open') read.state = 'aborted';
      });
      return stream;
    },
  };
}

function unlessAborted(wanted: Promise<unknown>, signal: AbortSignal): Promise<unknown> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  return Promise.race([wanted, aborted.promise]).finally(() => signal.removeEventListener('abort', abort));
}

export interface SampleCache extends AsyncDisposable {
  readonly folder: string;
  readonly cache: BlobCache;
  /** The logged events. */
  readonly damaged: Digest[];
  readonly uncached: { digest: Digest; reason: Error }[];
  /** All files except the locks and the usage counter, relative to the folder, in order. */
  files(): Promise<string[]>;
  locks(): Promise<string[]>;
}

export interface SampleCacheOptions {
  limit?: number;
  folder?: string;
  readAhead?: number;
  rangePatience?: number;
  caches?: MemoryCaches;
}

/** A cache in a folder of its own, or in one that is given and stays. */
export async function sampleCache(options: SampleCacheOptions = {}): Promise<SampleCache> {
  const { limit = 2 ** 30, readAhead = 2 ** 28, rangePatience, caches } = options;
  const own: TemporaryFolder | undefined = options.folder === undefined ? await temporaryFolder() : undefined;
  const folder = options.folder ?? join(own?.path ?? '', 'cache');
  const damaged: Digest[] = [];
  const uncached: { digest: Digest; reason: Error }[] = [];
  const log = {
    damaged: (digest: Digest) => void damaged.push(digest),
    uncached: (digest: Digest, reason: Error) => void uncached.push({ digest, reason }),
  };
  const cache = await openBlobCache({
    ...{ folder, limit, readAhead, log },
    ...(rangePatience === undefined ? {} : { rangePatience }),
    ...(caches && { caches }),
  });
  return {
    folder,
    cache,
    damaged,
    uncached,
    files: async () => (await filesIn(folder)).filter((file) => !isLock(file) && file !== TALLY_FILE),
    locks: async () => (await filesIn(folder)).filter((file) => isLock(file)),
    [Symbol.asyncDispose]: async () => own?.[Symbol.asyncDispose](),
  };
}

/** The file with the number of bytes, relative to the folder. */
export const TALLY_FILE = 'room.tally';

/** With the journal that SQLite puts beside it. */
function isLock(file: string): boolean {
  return /\.lock(-journal)?$/.test(file);
}

/** The paths of all files below a folder, relative to it, in order. */
export async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

/** Returns the path of a verified blob, relative to the cache's folder. */
export function blobFile(digest: string): string {
  const hex = digest.slice(digest.indexOf(':') + 1);
  return join('blobs', 'sha256', hex.slice(0, 2), hex);
}

/** The registry of the sample blobs. */
export const REGISTRY = 'registry.example';

/** Returns the path of an incoming blob, relative to the cache's folder. */
export function incomingFile(
  { digest, size }: { digest: string; size: number },
  supplier: string = REGISTRY,
): string {
  const hash = createHash('sha256').update(supplier).digest('hex').slice(0, 16);
  return join('incoming', `${digest.replace(':', '-')}.${hash}.${size}`);
}

export interface SlowDisk {
  /** The number of syncs so far. */
  readonly syncs: number;
  /** Lets all syncs succeed, or all of them fail. */
  finish(error?: Error): void;
}

/** Delays syncs to the disk until the test releases them. A real disk cannot do so on demand. */
export async function slowDisk(t: TestContext, folder: string): Promise<SlowDisk> {
  const prototype = await fileHandlePrototype(folder);
  const gate = Promise.withResolvers<void>();
  gate.promise.catch(() => {});
  const datasync = prototype.datasync;
  const mock = t.mock.method(prototype, 'datasync', async function (this: FileHandle) {
    await gate.promise;
    await datasync.call(this);
  });
  return {
    get syncs() {
      return mock.mock.callCount();
    },
    finish: (error) => (error === undefined ? gate.resolve() : gate.reject(error)),
  };
}

/** Returns the common prototype of open files, so that tests can watch it. */
export async function fileHandlePrototype(folder: string): Promise<FileHandle> {
  const handle = await open(folder);
  await handle.close();
  return Object.getPrototypeOf(handle);
}

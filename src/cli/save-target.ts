import { open, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { UsageError } from '../config/loader.ts';
import { formatDecimalBytes } from '../util/byte-size.ts';
import { CommandError, ReaderGoneError } from './command-error.ts';

/** The destination of an archive. */
export interface Place {
  /** The name in messages: a path, or the archive's name for stdout. */
  readonly name: string;
  readonly kind: 'file' | 'device' | 'stdout';
  /** True if a file with this name exists. The new file replaces it. */
  readonly exists: boolean;
}

/** The stream that writes a file. */
export interface Target {
  /**
   * Writes chunks one after the other, in one system call if possible.
   *
   * @throws CommandError if the target cannot be written; ReaderGoneError
   */
  write(chunks: readonly Uint8Array[]): Promise<void>;
  /** Renames the file to its final name. */
  commit(): Promise<void>;
  /** Removes an unfinished file. */
  discard(): Promise<void>;
}

/**
 * Finds the place of an archive.
 *
 * @param output a file, a folder, or `-` for stdout; undefined: the archive's own name, here
 * @throws CommandError if the folder does not exist
 */
export async function findPlace(output: string | undefined, filename: string): Promise<Place> {
  if (output === '-') return { name: filename, kind: 'stdout', exists: false };
  const named = output ?? filename;
  const found = await stat(named).catch(() => undefined);
  if (found?.isDirectory()) {
    const name = join(named, filename);
    return { name, kind: 'file', exists: (await stat(name).catch(() => undefined)) !== undefined };
  }
  const folder = /[/\\]$/.test(named) ? named : dirname(named);
  const parent = found === undefined ? await stat(folder).catch(() => undefined) : undefined;
  if (found === undefined && parent === undefined) throw missingFolder(folder);
  if (parent?.isDirectory() === false) throw new CommandError(noFolder(folder));
  // A device or a pipe must not be replaced by a file.
  const kind = found === undefined || found.isFile() ? 'file' : 'device';
  return { name: named, kind, exists: kind === 'file' && found !== undefined };
}

function noFolder(path: string): string {
  return `${path} is not a folder. Choose another one with -o.`;
}

function missingFolder(folder: string): CommandError {
  return new CommandError(`The folder ${folder} does not exist. Create it, or choose another one with -o.`);
}

/**
 * Makes sure that the disk has room for a file before the download starts.
 *
 * @param size bytes
 * @throws CommandError if the disk has less free space
 */
export async function requireSpace({ name, kind }: Place, size: number): Promise<void> {
  if (kind !== 'file') return;
  const { bavail, bsize, blocks } = await statfs(dirname(name));
  // File systems without a size report no blocks.
  if (blocks === 0 || bavail * bsize >= size) return;
  const [needed, free] = [size, bavail * bsize].map(formatDecimalBytes);
  throw new CommandError(`The disk of ${name} has ${free} free, but the file needs ${needed}. ${ELSEWHERE}`);
}

const ELSEWHERE = 'Free some space, or choose another folder with -o.';
/** Sentences about the operating system's errors, for the name of a file. */
const SENTENCES: Readonly<Record<string, (name: string) => string>> = {
  ENOENT: (name) => missingFolder(dirname(name)).message,
  ENOTDIR: (name) => noFolder(dirname(name)),
  ENOSPC: (name) => `The disk is full, so ${name} is incomplete. ${ELSEWHERE}`,
  EDQUOT: (name) => `Your disk quota is full, so ${name} is incomplete. ${ELSEWHERE}`,
  EFBIG: (name) => `${name} is too large for its file system. Split it, for example with --parts 2GiB.`,
  EACCES: (name) => `You do not have permission to write ${name}. Choose another folder with -o.`,
  EPERM: (name) => `You do not have permission to write ${name}. Choose another folder with -o.`,
  EROFS: (name) => `${name} is on a read-only file system. Choose another folder with -o.`,
};

/** The system calls that write a file. */
const WRITING = new Set(['open', 'write', 'writev', 'close', 'rename']);

/** Makes a sentence of what the operating system says when something cannot be written; any other error stays as it is. */
export function explainWriting(name: string, error: unknown): unknown {
  if (!(error instanceof Error) || !('syscall' in error) || !WRITING.has(`${error.syscall}`)) return error;
  const code = 'code' in error ? `${error.code}` : '';
  if (code === 'EPIPE') return new ReaderGoneError(error.message, { cause: error });
  const sentence = SENTENCES[code]?.(name) ?? `${name} cannot be written: ${error.message}.`;
  return new CommandError(sentence, { cause: error });
}

/** Opens a target. A file gets its final name on commit. @throws CommandError if it cannot be written */
export async function openTarget(place: Place, stdout: Writable): Promise<Target> {
  const explain = (error: unknown): never => {
    throw explainWriting(place.kind === 'stdout' ? 'stdout' : place.name, error);
  };
  const opened = await (place.kind === 'stdout' ? openStdout(stdout) : openFile(place)).catch(explain);
  return {
    write: (chunks) => opened.write(chunks).catch(explain),
    commit: () => opened.commit().catch(explain),
    discard: opened.discard,
  };
}

/**
 * Wraps a target on a terminal, and refuses binary data, which could change the state of the terminal. As in curl, a
 * zero byte identifies binary data.
 *
 * @throws UsageError from `write` for binary data
 */
export function textOnly(target: Target): Target {
  return {
    ...target,
    async write(chunks) {
      if (chunks.some((chunk) => chunk.includes(0)))
        throw new UsageError(['Refusing to write binary data to the terminal. Use a pipe, or > FILE.']);
      await target.write(chunks);
    },
  };
}

async function openStdout(stdout: Writable): Promise<Target> {
  // The callback of each write also receives the error.
  stdout.on('error', () => {});
  return {
    async write(chunks) {
      for (const chunk of chunks)
        await new Promise<void>((resolve, reject) => {
          stdout.write(chunk, (error) => (error ? reject(error) : resolve()));
        });
    },
    commit: async () => {},
    discard: async () => {},
  };
}

async function openFile({ name, kind }: Place): Promise<Target> {
  const written = kind === 'device' ? name : `${name}.part`;
  const file = await open(written, 'w');
  return {
    async write(chunks) {
      for (let rest = chunks; rest.length > 0; ) {
        const { bytesWritten } = await file.writev(rest);
        rest = split(rest, bytesWritten)[1];
      }
    },
    async commit() {
      await file.close();
      if (kind === 'file') await rename(written, name);
    },
    async discard() {
      await file.close();
      if (kind === 'file') await rm(written, { force: true });
    },
  };
}

/** A file that is saved. */
export interface SavedFile {
  readonly name: string;
  /** Bytes; undefined if only the end of the stream shows the size. */
  readonly size: number | undefined;
  /** The number of the part; undefined for the whole archive or the only requested part. */
  readonly number: number | undefined;
}

/** Maximum bytes that wait for the disk while more are read. */
const WRITE_AHEAD = 1024 * 1024;

/**
 * Creates a stream that fills files one after the other. It commits each file when it is full, and the last at the end.
 *
 * @param open called for each file when the one before it is full
 */
export function fillFiles(files: readonly SavedFile[], open: (file: SavedFile) => Promise<Target>): Writable {
  const unopened = files.values();
  let current: Target | undefined;
  let opening: Promise<unknown> = Promise.resolve();
  let left = 0;
  const next = async (): Promise<Target> => {
    await current?.commit();
    current = undefined;
    const { value: file } = unopened.next();
    if (file === undefined) throw new RangeError('The archive has more bytes than the files can hold.');
    // A single file takes the whole stream, regardless of the expected size.
    left = file.number === undefined ? Number.POSITIVE_INFINITY : (file.size ?? 0);
    const opened = open(file);
    opening = opened;
    current = await opened;
    return current;
  };
  const put = async (chunks: readonly Uint8Array[]): Promise<void> => {
    // An empty chunk after the last byte must not open another file.
    for (let rest = chunks.filter(({ length }) => length > 0); rest.length > 0; ) {
      const file = left === 0 || current === undefined ? await next() : current;
      const [part, after] = split(rest, left);
      await file.write(part);
      left -= sizeOf(part);
      rest = after;
    }
  };
  const end = async (): Promise<void> => {
    const file = current ?? (await next());
    await file.commit();
    current = undefined;
  };
  return new Writable({
    highWaterMark: WRITE_AHEAD,
    write: (chunk, _encoding, done) => void put([chunk]).then(() => done(), done),
    writev: (waiting, done) => void put(waiting.map(({ chunk }) => chunk)).then(() => done(), done),
    final: (done) => void end().then(() => done(), done),
    destroy(error, done) {
      // A file that is being opened would stay.
      const discarded = opening.catch(() => {}).then(() => current?.discard());
      discarded.catch(() => {}).then(() => done(error));
    },
  });
}

/** Splits consecutive chunks at a position. Neither half has empty chunks. */
function split(chunks: readonly Uint8Array[], at: number): readonly [Uint8Array[], Uint8Array[]] {
  const halves: [Uint8Array[], Uint8Array[]] = [[], []];
  let left = at;
  for (const chunk of chunks) {
    const pieces = [chunk.subarray(0, left), chunk.subarray(left)] as const;
    for (const [half, piece] of pieces.entries()) if (piece.length > 0) halves[half as 0 | 1].push(piece);
    left = Math.max(left - chunk.length, 0);
  }
  return halves;
}

const sizeOf = (chunks: readonly Uint8Array[]): number => chunks.reduce((sum, { length }) => sum + length, 0);

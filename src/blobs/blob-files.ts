import { createHash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat, utimes } from 'node:fs/promises';
import { uptime } from 'node:os';
import { dirname, join } from 'node:path';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Digest, splitDigest } from '../oci/digest.ts';

/**
 * The folder of the cache:
 *
 * - `blobs/sha256/ab/abcdef…`: a verified blob
 * - `incoming/sha256-abcdef….0123….1234`: the received part of a blob of 1234 bytes
 * - `incoming/sha256-abcdef….0123….lock`: the lock of the process that fetches the blob
 * - `incoming/sha256-abcdef….0123….1234.wanted`: its length is the number of bytes that other processes need now
 *
 * An incoming file belongs to its upstream, whose hash is in the file's name. Readers of one registry must not wait for
 * the slow or wrong bytes of another.
 *
 * The modification time of a verified blob is a marker that follows from its digest. A later write changes it. The
 * access time records the last request.
 */
export interface BlobFiles {
  readonly folder: string;
  blobPath(digest: Digest): string;
  incomingPath(blob: Descriptor, supplier: string): string;
  /** How many bytes of an incoming file can be gone on with. */
  incomingLength(blob: Descriptor, supplier: string): Promise<number>;
  /** Opens a verified blob to read; undefined if absent. One with a broken seal is removed. */
  open(blob: Descriptor): Promise<FileHandle | undefined>;
  /** Sets the access time of a blob that is there and whose seal is whole to now. */
  touch(digest: Digest): Promise<void>;
  /**
   * Makes a verified incoming file the blob: sealed, on the disk, under its final name. Sealed first, so that those who
   * follow it in other processes know that it is verified while the disk still takes its time.
   */
  commit(blob: Descriptor, supplier: string, incoming: FileHandle): Promise<void>;
}

export interface BlobFilesOptions {
  readonly folder: string;
  /** Told of a blob that is not what it was when it was verified. */
  readonly onDamage: (digest: Digest) => void;
}

/** Bytes that an incoming file has room for at first. */
const FIRST_ROOM = 16 * 1024 * 1024;
/** Seconds. Access times closer to each other than this are not worth a write. */
const ACCESS_PRECISION_S = 1;

/** Makes the folder where it is missing. */
export async function openBlobFiles({ folder, onDamage }: BlobFilesOptions): Promise<BlobFiles> {
  await mkdir(join(folder, 'blobs'), { recursive: true, mode: 0o700 });
  await mkdir(join(folder, 'incoming'), { recursive: true, mode: 0o700 });

  // One after the other: on a slow disk, several would take all of Node's few threads for files, and no reader got one.
  let lastSync: Promise<void> = Promise.resolve();

  const blobPath = (digest: Digest): string => {
    const { algorithm, hex } = splitDigest(digest);
    return join(folder, 'blobs', algorithm, hex.slice(0, 2), hex);
  };
  const incomingPath = ({ digest, size }: Descriptor, supplier: string): string => {
    const hash = createHash('sha256').update(supplier).digest('hex').slice(0, 16);
    return join(folder, 'incoming', `${digest.replace(':', '-')}.${hash}.${size}`);
  };

  return {
    folder,
    blobPath,
    incomingPath,

    async incomingLength(blob, supplier) {
      const status = await stat(incomingPath(blob, supplier)).catch(() => undefined);
      return status !== undefined && isUsable(blob, status) ? status.size : 0;
    },

    async open({ digest, size }) {
      const path = blobPath(digest);
      const file = await openExisting(path);
      if (file === undefined) return undefined;
      const { size: actual, mtimeMs, atimeMs } = await file.stat();
      const isIntact = isSealed(digest, mtimeMs);
      if (actual === size && isIntact) {
        const now = Date.now() / 1000;
        // On a read-only disk, the marker cannot be written, but the blob is as good.
        if (now - atimeMs / 1000 > ACCESS_PRECISION_S) await file.utimes(now, sealOf(digest)).catch(() => {});
        return file;
      }
      await file.close();
      // A blob of another size is what it says; the descriptor is wrong, and its fetch will tell.
      if (isIntact) return undefined;
      onDamage(digest);
      await rm(path, { force: true });
      return undefined;
    },

    async touch(digest) {
      const path = blobPath(digest);
      const { mtimeMs } = await stat(path);
      // One that was changed must not get its seal back.
      if (isSealed(digest, mtimeMs)) await utimes(path, Date.now() / 1000, sealOf(digest));
    },

    async commit(blob, supplier, file) {
      const path = blobPath(blob.digest);
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await file.utimes(Date.now() / 1000, sealOf(blob.digest));
      const synced = lastSync.then(() => file.datasync());
      lastSync = synced.catch(() => {});
      await synced;
      await rename(incomingPath(blob, supplier), path);
    },
  };
}

/** The lock of an incoming file: whoever writes or removes it has it. */
export function lockOf(incomingPath: string): string {
  return incomingPath.replace(/\.\d+$/, '.lock');
}

/**
 * Returns the path of the file with which followers of an incoming file request bytes from its writer. Its length is the
 * number of bytes of the blob that they want. It is sparse, so it uses no space.
 */
export function wantedOf(incomingPath: string): string {
  return `${incomingPath}.wanted`;
}

/**
 * Returns how many bytes of the cache an incoming file takes: twice as many as came, rounded up. A manifest may state
 * any size, and so a file takes no more before its bytes come.
 *
 * @param written bytes that came
 * @param size bytes of the whole blob
 */
export function roomFor(written: number, size: number): number {
  let room = FIRST_ROOM;
  while (room <= 2 * written) room *= 2;
  return Math.min(room, size);
}

/**
 * True if the received bytes of a blob can be continued. After a power cut, a file's length says little about its
 * bytes. Its modification time, which may be its marker, does not date them.
 */
export function isUsable(blob: Descriptor, { size, ctimeMs }: Pick<Stats, 'size' | 'ctimeMs'>): boolean {
  const isOfThisBoot = ctimeMs >= Date.now() - uptime() * 1000;
  return size <= blob.size && isOfThisBoot;
}

/** Opens a file for reading; undefined if absent. */
export async function openExisting(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDONLY);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** Tells whether a modification time, in milliseconds, is the seal of a blob. */
export function isSealed(digest: Digest, mtimeMs: number): boolean {
  return mtimeMs === sealOf(digest) * 1000;
}

/** The modification time of a blob: seconds since the epoch, before 1979, where no clock of a writer comes. */
export function sealOf(digest: Digest): number {
  return Number.parseInt(splitDigest(digest).hex.slice(0, 7), 16);
}

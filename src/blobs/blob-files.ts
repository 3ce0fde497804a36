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
  /** Returns the number of bytes of an incoming file from which a fetch can continue. */
  incomingLength(blob: Descriptor, supplier: string): Promise<number>;
  /** Opens a verified blob for reading; undefined if absent. Removes a blob whose verified marker is wrong. */
  open(blob: Descriptor): Promise<FileHandle | undefined>;
  /** Sets the access time of a stored blob to now if its verified marker is right. */
  touch(digest: Digest): Promise<void>;
  /**
   * Turns a verified incoming file into the blob: sets the verified marker, syncs it to the disk, and renames it. The
   * marker comes first, so that other processes that follow the file can use it before the disk has synced.
   */
  commit(blob: Descriptor, supplier: string, incoming: FileHandle): Promise<void>;
}

export interface BlobFilesOptions {
  readonly folder: string;
  /** Called if a blob has changed since it was verified. */
  readonly onDamage: (digest: Digest) => void;
}

/** Bytes that are reserved for a new incoming file. */
const FIRST_ROOM = 16 * 1024 * 1024;
/** Seconds. Access times closer to each other than this are not worth a write. */
const ACCESS_PRECISION_S = 1;

/** Creates the folder if it is missing. */
export async function openBlobFiles({ folder, onDamage }: BlobFilesOptions): Promise<BlobFiles> {
  await mkdir(join(folder, 'blobs'), { recursive: true, mode: 0o700 });
  await mkdir(join(folder, 'incoming'), { recursive: true, mode: 0o700 });

  // One at a time: on a slow disk, several would occupy all of Node's few threads for files, and readers would wait.
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
        // On a read-only disk, the times cannot be set, but the blob is usable.
        if (now - atimeMs / 1000 > ACCESS_PRECISION_S)
          await file.utimes(now, markerOf(digest)).catch(() => {});
        return file;
      }
      await file.close();
      // A verified blob of another size is right, so the descriptor is wrong. Its fetch reports that.
      if (isIntact) return undefined;
      onDamage(digest);
      await rm(path, { force: true });
      return undefined;
    },

    async touch(digest) {
      const path = blobPath(digest);
      const { mtimeMs } = await stat(path);
      // A changed blob must not get the verified marker again.
      if (isSealed(digest, mtimeMs)) await utimes(path, Date.now() / 1000, markerOf(digest));
    },

    async commit(blob, supplier, file) {
      const path = blobPath(blob.digest);
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await file.utimes(Date.now() / 1000, markerOf(blob.digest));
      const synced = lastSync.then(() => file.datasync());
      lastSync = synced.catch(() => {});
      await synced;
      await rename(incomingPath(blob, supplier), path);
    },
  };
}

/** The lock of an incoming file. Its owner may write or remove the file. */
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
 * Returns the bytes of the quota that an incoming file occupies: twice the received bytes, rounded up. A manifest can
 * state any size, so a file must not occupy more before its bytes arrive.
 *
 * @param written received bytes
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

/** Tells whether a modification time, in milliseconds, is the verified marker of a blob. */
export function isSealed(digest: Digest, mtimeMs: number): boolean {
  return mtimeMs === markerOf(digest) * 1000;
}

/** The verified marker of a blob: a modification time before 1979, in seconds, which no normal write sets. */
export function markerOf(digest: Digest): number {
  return Number.parseInt(splitDigest(digest).hex.slice(0, 7), 16);
}

import { statfsSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type BlobFiles, isMissing, lockOf, roomFor } from './blob-files.ts';
import { type DiskUsage, readDiskUsage, writeDiskUsage } from './disk-usage.ts';
import { tryLock } from './file-lock.ts';

/** Keeps the cache within its quota by evicting the least recently used files. */
export interface DiskQuota {
  /**
   * Reserves bytes, and evicts files if necessary; false if that is impossible. All processes that share the folder
   * share its quota, and evict one at a time.
   *
   * @param occupy creates the file that the bytes are for, before another process can reserve
   * @param promised bytes that the file may need in total; the result is false if even an empty cache is too small for
   *   them
   */
  reserve(bytes: number, occupy: () => void, promised?: number): Promise<boolean>;
}

export interface DiskQuotaOptions {
  readonly files: BlobFiles;
  /** Bytes. */
  readonly limit: number;
  /** Tells whether this process reads or writes a file at the moment. */
  readonly isInUse: (path: string) => boolean;
}

/** A file that counts. */
interface Held {
  readonly path: string;
  readonly bytes: number;
  /** Milliseconds since the epoch. */
  readonly used: number;
}

/** Eviction frees space down to this share, so that it doesn't run for every blob. */
export const LOW_WATER = 0.9;
/** Files that were accessed within this time may be in use by other processes. */
export const PINNED_ELSEWHERE_MS = 30_000;
/** How long the sum of all files is cached. Reserved bytes are added to it meanwhile; small files are not. */
const COUNT_STANDS_MS = 10 * 60_000;
/** The share of the disk's free bytes that the cache leaves. */
const SHARE_OF_FREE = 0.95;
/** The files in the folder: the lock, and the usage, which the owner of the lock updates. */
const [LOCK, TALLY] = ['room.lock', 'room.tally'] as const;
/** Milliseconds between attempts to get a lock that another process has. */
const POLL_MS = 5;

export function createDiskQuota({ files: { folder }, limit, isInUse }: DiskQuotaOptions): DiskQuota {
  const incoming = join(folder, 'incoming');
  const tallyPath = join(folder, TALLY);
  let turn: Promise<unknown> = Promise.resolve();
  let isCounting = false;

  /** Runs work under the lock. Without evictions, the work takes at most one turn of the event loop. */
  const alone = async <T>(work: () => Promise<T>): Promise<T> => {
    using _lock = await waitForLock(join(folder, LOCK));
    return await work();
  };
  /** A full disk can prevent the write. The next reservation then measures the files. */
  const write = (tally: DiskUsage): void => {
    try {
      writeDiskUsage(tallyPath, tally);
    } catch {}
  };

  const reserveAlone = async (bytes: number, occupy: () => void, promised: number): Promise<boolean> => {
    let tally = readDiskUsage(tallyPath);
    let free = freeBytes(folder);
    if (tally === undefined || tally.bytes + bytes > limit || bytes > free) {
      tally = { bytes: await makeRoom(bytes, free), counted: Date.now() };
      free = freeBytes(folder);
    }
    const hasRoom = tally.bytes + bytes <= limit && bytes <= free && promised <= tally.bytes + free;
    if (hasRoom) occupy();
    const now = { ...tally, bytes: tally.bytes + (hasRoom ? bytes : 0) };
    write(now);
    if (Date.now() - now.counted >= COUNT_STANDS_MS) countAgain(now);
    return hasRoom;
  };

  /** Evicts the least recently used files until the bytes fit. Returns the remaining usage. */
  const makeRoom = async (bytes: number, free: number): Promise<number> => {
    const held = await list(folder);
    let total = sumOf(held);
    // On a disk that is smaller than the limit, or full of other files, the available space is the limit.
    const most = Math.min(limit, total + free);
    if (total + bytes <= most) return total;
    for (const file of held.sort((a, b) => a.used - b.used)) {
      if (total + bytes <= most * LOW_WATER) break;
      if (await evict(file)) total -= file.bytes;
    }
    return total;
  };

  const isIdle = ({ path, used }: Held): boolean => used < Date.now() - PINNED_ELSEWHERE_MS && !isInUse(path);

  const evict = async (file: Held): Promise<boolean> => {
    if (!isIdle(file)) return false;
    const isIncoming = dirname(file.path) === incoming;
    using lock = isIncoming ? tryLock(lockOf(file.path)) : undefined;
    if (isIncoming && lock === undefined) return false;
    // A request may have used the file since the listing.
    const now = isIncoming ? await measureIncoming(file.path) : await measure(file.path);
    if (now !== undefined && !isIdle(now)) return false;
    await rm(file.path, { force: true });
    return true;
  };

  /** Measures the files in the background, because reserved bytes can differ from written ones. */
  const countAgain = (before: DiskUsage): void => {
    if (isCounting) return;
    isCounting = true;
    const count = async (): Promise<void> => {
      const bytes = sumOf(await list(folder));
      await alone(async () => {
        const tally = readDiskUsage(tallyPath);
        // The result of another process is as recent.
        if (tally?.counted !== before.counted) return;
        write({ bytes: tally.bytes + bytes - before.bytes, counted: Date.now() });
      });
    };
    count()
      .catch(() => {})
      .finally(() => {
        isCounting = false;
      });
  };

  return {
    reserve(bytes, occupy, promised = bytes) {
      if (promised > limit) return Promise.resolve(false);
      const reservation = turn.then(() => alone(() => reserveAlone(bytes, occupy, promised)));
      turn = reservation.catch(() => {});
      return reservation;
    },
  };
}

async function waitForLock(path: string): Promise<Disposable> {
  for (;;) {
    const lock = tryLock(path);
    if (lock !== undefined) return lock;
    await delay(POLL_MS);
  }
}

function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize * SHARE_OF_FREE;
}

function sumOf(held: readonly Held[]): number {
  return held.reduce((sum, { bytes }) => sum + bytes, 0);
}

/**
 * Lists every counted file; an incoming one with its reserved bytes. Incoming files come first, so that a file that
 * gets its final name meanwhile is not missed.
 */
async function list(folder: string): Promise<Held[]> {
  const incomingFolder = join(folder, 'incoming');
  const incoming = await eachInTurn(await filesBelow(incomingFolder), measureIncoming);
  const own = new Set([LOCK, TALLY].map((name) => join(folder, name)));
  const others = (await filesBelow(folder)).filter(
    (path) => dirname(path) !== incomingFolder && !own.has(path),
  );
  const kept = await eachInTurn(others, measure);
  const names = new Set(kept.map(({ path }) => identity(path)));
  return [...incoming.filter(({ path }) => !names.has(identity(path))), ...kept];
}

/** The digits of the digest, in both names of a blob. */
function identity(path: string): string {
  return /\/(?:blobs\/\w+\/\w+\/|incoming\/\w+-)([0-9a-f]{64,})/.exec(path)?.[1] ?? path;
}

/** Two at a time: downloads read their files by the same few threads. */
async function eachInTurn(
  paths: readonly string[],
  look: (path: string) => Promise<Held | undefined>,
): Promise<Held[]> {
  const left = paths.values();
  const found: Held[] = [];
  const walk = async (): Promise<void> => {
    for (const path of left) {
      const held = await look(path);
      if (held !== undefined) found.push(held);
    }
  };
  await Promise.all([walk(), walk()]);
  return found;
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(noneIfMissing);
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

function noneIfMissing(error: unknown): [] {
  if (isMissing(error)) return [];
  throw error;
}

async function measure(path: string): Promise<Held | undefined> {
  try {
    const { size, atimeMs } = await stat(path);
    return { path, bytes: size, used: atimeMs };
  } catch {
    // Another process evicted it meanwhile.
    return undefined;
  }
}

async function measureIncoming(path: string): Promise<Held | undefined> {
  const [, promised] = /\.(\d+)$/.exec(path) ?? [];
  if (promised === undefined) return undefined;
  const { size, mtimeMs } = await stat(path).catch(() => ({ size: 0, mtimeMs: Date.now() }));
  // The reservation for a saved archive is an estimate, which the archive may exceed.
  const room = basename(path).startsWith('spool-') ? Number(promised) : roomFor(size, Number(promised));
  return { path, bytes: Math.max(room, size), used: mtimeMs };
}

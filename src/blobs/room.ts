import { readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { type BlobFiles, isMissing } from './blob-files.ts';

/** Keeps the cache within its bytes: the least recently used go first. */
export interface Room {
  /**
   * Makes room for so many more bytes; false where there can be none.
   *
   * @param occupy makes the file that stands for the bytes, before anyone else gets room
   */
  reserve(bytes: number, occupy: () => Promise<void>): Promise<boolean>;
}

export interface RoomOptions {
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

/** Eviction goes on to here, so that it doesn't run for every blob. */
export const LOW_WATER = 0.9;
/** Other processes share the folder: what they read or write was touched not longer ago than this. */
export const IN_USE_ELSEWHERE_MS = 30_000;
/** How long a count of the folder stands; meanwhile, what this process adds is added to it. */
const COUNT_STANDS_MS = 10_000;
/** Of the free bytes of the disk, so that the cache never takes the last of them. */
const SHARE_OF_FREE = 0.95;

export function createRoom({ files, limit, isInUse }: RoomOptions): Room {
  let counted = { bytes: 0, at: Number.NEGATIVE_INFINITY };
  let turn: Promise<unknown> = Promise.resolve();

  const makeRoom = async (bytes: number): Promise<boolean> => {
    if (bytes > limit) return false;
    if (counted.bytes + bytes <= limit && Date.now() - counted.at < COUNT_STANDS_MS) return true;
    const held = await list(files.folder);
    let total = held.reduce((sum, file) => sum + file.bytes, 0);
    // Where the disk is smaller than the limit, or full of something else, what it has is the limit.
    const { bavail, bsize } = await statfs(files.folder);
    const most = Math.min(limit, total + bavail * bsize * SHARE_OF_FREE);
    if (total + bytes > most) {
      const recently = Date.now() - IN_USE_ELSEWHERE_MS;
      const evictable = held.filter(({ path, used }) => used < recently && !isInUse(path));
      for (const { path, bytes: freed } of evictable.sort((a, b) => a.used - b.used)) {
        if (total + bytes <= most * LOW_WATER) break;
        await rm(path, { force: true });
        total -= freed;
      }
    }
    counted = { bytes: total, at: Date.now() };
    return total + bytes <= most;
  };

  return {
    reserve(bytes, occupy) {
      const reservation = turn.then(async () => {
        if (!(await makeRoom(bytes))) return false;
        await occupy();
        counted.bytes += bytes;
        return true;
      });
      turn = reservation.catch(() => {});
      return reservation;
    },
  };
}

/**
 * Every file that counts; an incoming one with the bytes that it will have, which its name says. Incoming files are
 * looked at first: one that gets its final name meanwhile is then seen at least once.
 */
async function list(folder: string): Promise<Held[]> {
  const incoming = await Promise.all((await filesBelow(join(folder, 'incoming'))).map(measureIncoming));
  const all = await filesBelow(folder);
  const kept = await Promise.all(all.filter((path) => !path.includes('/incoming/')).map(measure));
  const names = new Set(kept.flatMap((file) => (file === undefined ? [] : identity(file.path))));
  const stillIncoming = incoming.filter((file) => file !== undefined && !names.has(identity(file.path)));
  return [...stillIncoming, ...kept].filter((file) => file !== undefined);
}

/** The digits of the digest, in both names of a blob. */
function identity(path: string): string {
  return /\/(?:blobs\/\w+\/\w+\/|incoming\/\w+-)([0-9a-f]{64,})/.exec(path)?.[1] ?? path;
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
    // It was evicted meanwhile.
    return undefined;
  }
}

async function measureIncoming(path: string): Promise<Held | undefined> {
  const [, promised] = /\.(\d+)$/.exec(path) ?? [];
  if (promised === undefined) return undefined;
  const { size, mtimeMs } = await stat(path).catch(() => ({ size: 0, mtimeMs: Date.now() }));
  // A saved image may become larger than was thought.
  return { path, bytes: Math.max(Number(promised), size), used: mtimeMs };
}

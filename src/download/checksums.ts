import { hash } from 'node:crypto';
import { readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import type { Partition } from '../archive/parts.ts';
import type { Archive } from '../sources/image-source.ts';
import { replaceFile } from '../util/atomic-file.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';
import { createSingleFlight } from '../util/single-flight.ts';
import { send } from '../util/streams.ts';
import { createPartHasher, isSome, type PartHashes } from './part-hasher.ts';

/** Maximum bytes of the hashes in memory, and milliseconds that hashes, and their absence, are remembered. */
const KNOWN_LIMIT = 512 * 1024;
const KNOWN_MS = 60_000;
const MISSING_MS = 1_000;

/** Called with each hashed chunk, to count its bytes. */
export type OnChunk = (chunk: Uint8Array) => void;

/**
 * Computes checksums of archives once, by reading an archive as a download does. It stores them by ETag, because equal
 * ETags mean equal bytes.
 */
export interface Checksums {
  /** The stored checksums; undefined if they were never computed. */
  find(etag: string, partition: Partition): Promise<PartHashes | undefined>;
  /**
   * Reads the archive and hashes it in each of several partitions, in one pass, once for all concurrent requests.
   *
   * @param onChunk receives the read chunks while this caller waits
   * @returns the hashes by each partition, in their order
   * @throws the error of reading the archive
   */
  compute(
    archive: Archive,
    partitions: readonly Partition[],
    onChunk: OnChunk | undefined,
    signal: AbortSignal,
  ): Promise<readonly PartHashes[]>;
}

/**
 * Stores checksums in files of the cache's folder, which are evicted like blobs:
 *
 *     checksums/5e/5eaf…     a hash a line
 *
 * Recently used hashes also stay in memory, because each download asks for them.
 *
 * @param folder undefined to store nothing
 */
export function createChecksums(folder: string | undefined, caches: MemoryCaches): Checksums {
  const share = createSingleFlight<readonly PartHashes[]>();
  const waiting = new Map<string, Set<OnChunk>>();
  const known = caches.open<PartHashes>({ name: 'checksums', limit: KNOWN_LIMIT, ttl: KNOWN_MS });
  // Remember an absence only briefly, because another process may compute the hashes.
  const missing = caches.open<true>({ name: 'checksums', limit: KNOWN_LIMIT, ttl: MISSING_MS });

  const find = async (etag: string, partition: Partition): Promise<PartHashes | undefined> => {
    const key = keyOf(etag, partition);
    const found = known.get(key);
    if (found !== undefined || folder === undefined || missing.get(key)) return found;
    const path = pathOf(folder, key);
    const text = await readFile(path, 'utf8').catch(() => '');
    const hashes = text.split('\n').filter((line) => /^[0-9a-f]{64}$/.test(line));
    if (hashes.length !== partition.count || !isSome(hashes)) {
      missing.set(key, true);
      return undefined;
    }
    known.set(key, hashes);
    const now = new Date();
    // On a read-only disk, the checksums in memory are enough.
    await utimes(path, now, now).catch(() => {});
    return hashes;
  };

  const keep = async (etag: string, partition: Partition, hashes: PartHashes | undefined): Promise<void> => {
    if (folder === undefined || hashes === undefined) return;
    const key = keyOf(etag, partition);
    known.set(key, hashes);
    // If the file cannot be written, the next request computes the hashes again. This request must not fail.
    await replaceFile(pathOf(folder, key), `${hashes.join('\n')}\n`).catch(() => {});
  };

  const compute = async (
    archive: Archive,
    partitions: readonly Partition[],
    onChunk: OnChunk,
    signal: AbortSignal,
  ): Promise<readonly PartHashes[]> => {
    const { etag } = archive;
    const before = await Promise.all(partitions.map((partition) => find(etag, partition)));
    if (areAll(before)) return before;
    const hashes = await hashArchive(archive, partitions, signal, onChunk);
    await Promise.all(partitions.map((partition, at) => keep(etag, partition, hashes[at])));
    return hashes;
  };

  return {
    find,

    async compute(archive, partitions, onChunk = () => {}, signal) {
      const key = partitions.map((partition) => keyOf(archive.etag, partition)).join(' ');
      const listeners = waiting.get(key) ?? new Set();
      waiting.set(key, listeners.add(onChunk));
      const tellAll = (chunk: Uint8Array): void => {
        for (const listener of waiting.get(key) ?? []) listener(chunk);
      };
      try {
        return await share(key, (shared) => compute(archive, partitions, tellAll, shared), signal);
      } finally {
        listeners.delete(onChunk);
        if (listeners.size === 0) waiting.delete(key);
      }
    },
  };
}

/**
 * Hashes the bytes that pass, one chunk in each turn of the event loop, so that other requests wait no longer than
 * that.
 */
async function hashArchive(
  archive: Archive,
  partitions: readonly Partition[],
  signal: AbortSignal,
  onChunk: OnChunk,
): Promise<readonly PartHashes[]> {
  const hashers = partitions.map(createPartHasher);
  const nowhere = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => setImmediate(done) });
  await send(archive.read(undefined, signal), nowhere, (chunk) => {
    onChunk(chunk);
    for (const hasher of hashers) hasher.update(chunk);
  });
  return hashers.map((hasher) => hasher.digest());
}

function keyOf(etag: string, { partSize, count }: Partition): string {
  return hash('sha256', `${etag} ${count === 1 ? 'whole' : partSize}`);
}

function pathOf(folder: string, key: string): string {
  return join(folder, 'checksums', key.slice(0, 2), key);
}

function areAll(known: readonly (PartHashes | undefined)[]): known is readonly PartHashes[] {
  return known.every((hashes) => hashes !== undefined);
}

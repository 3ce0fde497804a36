import { createHash, hash } from 'node:crypto';
import { readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import type { Partition } from '../archive/parts.ts';
import { replaceFile } from '../replace-file.ts';
import { createSingleFlight } from '../single-flight.ts';
import { send } from '../streams.ts';
import type { Archive } from './image-source.ts';

/** The sha256 of an archive, or of each of its parts, in lowercase hex digits, in their order. */
export type PartHashes = readonly [string, ...string[]];

/** What is told of the bytes that are hashed, to whoever counts them. */
export type OnChunk = (chunk: Uint8Array) => void;

/**
 * Knows the checksums of archives: computed once, by reading the archive as a download does, and kept by its ETag, which
 * is equal exactly where every byte is.
 */
export interface Checksums {
  /** What was computed before; undefined where nothing was. */
  find(etag: string, partition: Partition): Promise<PartHashes | undefined>;
  /**
   * Reads the archive and hashes it, once for however many want it at the same time.
   *
   * @param onChunk sees what is read for as long as this caller waits
   * @throws what reading the archive fails with
   */
  compute(
    archive: Archive,
    partition: Partition,
    onChunk: OnChunk | undefined,
    signal: AbortSignal,
  ): Promise<PartHashes>;
}

/**
 * Keeps them in files of the cache's folder, which go with what is not used:
 *
 *     checksums/5e/5eaf…     a hash a line
 *
 * @param folder undefined: nothing is kept
 */
export function createChecksums(folder: string | undefined): Checksums {
  const share = createSingleFlight<PartHashes>();
  const waiting = new Map<string, Set<OnChunk>>();

  const find = async (key: string, { count }: Partition): Promise<PartHashes | undefined> => {
    if (folder === undefined) return undefined;
    const path = pathOf(folder, key);
    const text = await readFile(path, 'utf8').catch(() => '');
    const hashes = text.split('\n').filter((line) => /^[0-9a-f]{64}$/.test(line));
    if (hashes.length !== count || !isSome(hashes)) return undefined;
    const now = new Date();
    // Where it cannot be written, as on a disk mounted read-only, it is as good.
    await utimes(path, now, now).catch(() => {});
    return hashes;
  };

  const compute = async (
    key: string,
    archive: Archive,
    partition: Partition,
    signal: AbortSignal,
  ): Promise<PartHashes> => {
    const known = await find(key, partition);
    if (known !== undefined) return known;
    const hashes = await hashParts(archive, partition, signal, (chunk) => {
      for (const onChunk of waiting.get(key) ?? []) onChunk(chunk);
    });
    // Without it, the next one who asks has it computed again: no reason to fail this one.
    if (folder !== undefined)
      await replaceFile(pathOf(folder, key), `${hashes.join('\n')}\n`).catch(() => {});
    return hashes;
  };

  return {
    find: (etag, partition) => find(keyOf(etag, partition), partition),

    async compute(archive, partition, onChunk = () => {}, signal) {
      const key = keyOf(archive.etag, partition);
      const listeners = waiting.get(key) ?? new Set();
      waiting.set(key, listeners.add(onChunk));
      try {
        return await share(key, (shared) => compute(key, archive, partition, shared), signal);
      } finally {
        listeners.delete(onChunk);
        if (listeners.size === 0) waiting.delete(key);
      }
    },
  };
}

/** Hashes what passes, a chunk in a turn of the event loop, so that nobody else waits for more than that. */
async function hashParts(
  archive: Archive,
  { partSize, count }: Partition,
  signal: AbortSignal,
  onChunk: OnChunk,
): Promise<PartHashes> {
  const hashes: string[] = [];
  let part = createHash('sha256');
  let missing = partSize;
  const add = (chunk: Uint8Array): void => {
    for (let rest = chunk; rest.length > 0; ) {
      const own = rest.subarray(0, missing);
      part.update(own);
      rest = rest.subarray(own.length);
      missing -= own.length;
      if (missing > 0) continue;
      hashes.push(part.digest('hex'));
      part = createHash('sha256');
      missing = partSize;
    }
  };
  const nowhere = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => setImmediate(done) });
  await send(archive.read(undefined, signal), nowhere, (chunk) => {
    onChunk(chunk);
    add(chunk);
  });
  if (hashes.length < count) hashes.push(part.digest('hex'));
  if (!isSome(hashes)) throw new RangeError('There is no archive without a part');
  return hashes;
}

function keyOf(etag: string, { partSize, count }: Partition): string {
  return hash('sha256', `${etag} ${count === 1 ? 'whole' : partSize}`);
}

function pathOf(folder: string, key: string): string {
  return join(folder, 'checksums', key.slice(0, 2), key);
}

function isSome(hashes: readonly string[]): hashes is PartHashes {
  return hashes.length > 0;
}

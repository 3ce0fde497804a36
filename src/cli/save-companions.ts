import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { hashedAs, unparted } from '../archive/parts.ts';
import type { ArchiveQuery } from '../http/archive-query.ts';
import { pinnedQuery } from '../http/digest-query.ts';
import { fileUrls } from '../http/file-addresses.ts';
import { type MetalinkFile, renderMetalink } from '../http/metalink.ts';
import type { Replica } from '../http/replicas.ts';
import type { Archive, LiveArchive } from '../sources/image-source.ts';
import { createPartHasher } from '../sources/part-hasher.ts';
import { CommandError } from './command-error.ts';
import { explainWriting } from './save-target.ts';

/** What a metalink says beside the hashes of files. */
export interface Publication {
  /** Services that send the same. */
  readonly replicas: readonly Replica[];
  /** Whether they do: what an engine saves is its own. */
  readonly isReproducible: boolean;
  /** Name and version: `DockerProxy/1.0.0`. */
  readonly generator: string;
}

/** A file that is saved. */
export interface SavedFile {
  readonly name: string;
  /** Bytes; undefined where only the end tells. */
  readonly size: number | undefined;
  /** Which part of the archive it is; undefined: all of it, or the one that was asked for. */
  readonly number: number | undefined;
}

/** What is written beside the files of an archive: their checksums and their metalink. */
export interface Companions {
  /** Hashes a file as it passes. */
  hash(file: SavedFile, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void>;
  /** Writes them, named after the archive, or after all its parts. */
  write(name: string): Promise<void>;
}

/** Makes sure that there can be a metalink, where one is wanted. @throws CommandError what is missing */
export function requirePublication(
  { metalink, referrers }: ArchiveQuery,
  { replicas, isReproducible }: Publication,
): void {
  if (!metalink) return;
  if (!isReproducible || referrers)
    throw new CommandError('No other service is sure to send the same bytes, so that there is no metalink.');
  if (replicas.length === 0)
    throw new CommandError('A metalink says where the file is: name the services with --replicas.');
}

export function createCompanions(
  query: ArchiveQuery,
  archive: Archive | LiveArchive,
  { replicas, generator }: Publication,
): Companions {
  const lines: string[] = [];
  const files: MetalinkFile[] = [];
  return {
    async *hash({ name, size, number }, chunks) {
      const partitions =
        size === undefined ? [unparted(Number.POSITIVE_INFINITY)] : hashedAs(size, archive.size);
      const hashers = partitions.map(createPartHasher);
      for await (const chunk of chunks) {
        for (const hasher of hashers) hasher.update(chunk);
        yield chunk;
      }
      const [[hash] = [''], pieces] = hashers.map((hasher) => hasher.digest());
      const [, cut] = partitions;
      const file = basename(name);
      lines.push(`${hash}  ${file}\n`);
      if (!query.metalink || archive.size === undefined || size === undefined) return;
      const addresses = { query: pinnedQuery(query, archive), own: undefined, others: replicas };
      files.push({
        ...{ name: file, size, hash, urls: fileUrls(addresses, number) },
        pieces: pieces && cut && { length: cut.partSize, hashes: pieces },
      });
    },
    async write(name) {
      if (query.checksum) await writeWhole(`${name}.sha256`, lines.join(''));
      if (query.metalink) await writeWhole(`${name}.meta4`, renderMetalink(files, generator));
    },
  };
}

async function writeWhole(name: string, text: string): Promise<void> {
  await writeFile(name, text).catch((error: unknown) => {
    throw explainWriting(name, error);
  });
}

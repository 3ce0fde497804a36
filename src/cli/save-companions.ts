import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { hashedAs, unparted } from '../archive/parts.ts';
import { fileUrls } from '../download/file-urls.ts';
import { type MetalinkFile, renderMetalink } from '../download/metalink.ts';
import { createPartHasher } from '../download/part-hasher.ts';
import { pinnedQuery } from '../download/pinned-query.ts';
import type { ArchiveQuery } from '../download/query.ts';
import type { Replica } from '../download/replicas.ts';
import type { Archive, LiveArchive } from '../sources/image-source.ts';
import { CommandError } from './command-error.ts';
import { explainWriting, type SavedFile, type Target } from './save-target.ts';

/** What a metalink says beside the hashes of files. */
export interface Publication {
  /** Services that send the same. */
  readonly replicas: readonly Replica[];
  /** Whether they do: what an engine saves is its own. */
  readonly isReproducible: boolean;
  /** Name and version: `DockerProxy/1.0.0`. */
  readonly generator: string;
}

/** Writes the sidecar files of an archive: checksums and a metalink. */
export interface SidecarFiles {
  /** Wraps the target of a file, so that its bytes are hashed as they are written. */
  hashing(file: SavedFile, target: Target): Target;
  /** Writes the sidecar files, named after the archive or after all its parts. */
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

export function createSidecarFiles(
  query: ArchiveQuery,
  archive: Archive | LiveArchive,
  { replicas, generator }: Publication,
): SidecarFiles {
  const lines: string[] = [];
  const files: MetalinkFile[] = [];
  return {
    hashing({ name, size, number }, target) {
      const partitions =
        size === undefined ? [unparted(Number.POSITIVE_INFINITY)] : hashedAs(size, archive.size);
      const hashers = partitions.map(createPartHasher);
      const noteHash = (): void => {
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
      };
      return {
        ...target,
        write(chunk) {
          for (const hasher of hashers) hasher.update(chunk);
          return target.write(chunk);
        },
        commit() {
          noteHash();
          return target.commit();
        },
      };
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

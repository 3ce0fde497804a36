import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { hashedAs, unparted } from '../archive/parts.ts';
import { UsageError } from '../config/loader.ts';
import { checksumLine } from '../download/checksum-file.ts';
import { fileUrls } from '../download/file-urls.ts';
import { type MetalinkFile, metalinkEntry, renderMetalink } from '../download/metalink.ts';
import { createPartHasher } from '../download/part-hasher.ts';
import { pinnedQuery } from '../download/pinned-query.ts';
import type { ArchiveQuery } from '../download/query.ts';
import { areSameEverywhere, type Replica } from '../download/replicas.ts';
import type { Archive, LiveArchive, SourceTraits } from '../sources/image-source.ts';
import type { Sidecars } from './save-arguments.ts';
import { explainWriting, type SavedFile, type Target } from './save-target.ts';

/** The values that a metalink states beside the hashes of files. */
export interface Publication {
  /** Services that send the same bytes. */
  readonly replicas: readonly Replica[];
  /** Name and version: `DockerProxy/1.0.0`. */
  readonly generator: string;
}

/** Writes the sidecar files of an archive: checksums and a metalink. */
export interface SidecarFiles {
  /** Wraps the target of a file, so that its bytes are hashed as they are written. */
  hashing(file: SavedFile, target: Target): Target;
  /** The sha256 of each complete file, in hexadecimal digits. */
  checksums(): readonly string[];
  /** Writes the sidecar files, named after the archive or after all its parts. */
  write(name: string): Promise<void>;
}

/** Makes sure that a metalink can be written. @throws UsageError names the missing options */
export function requirePublication(
  query: ArchiveQuery,
  traits: SourceTraits,
  { replicas }: Publication,
): void {
  if (!areSameEverywhere(query, traits))
    throw new UsageError([
      'Metalinks are not available for this archive, because other services may build it with other bytes.',
    ]);
  if (query.ownPlatforms !== undefined)
    throw new UsageError([
      'Metalinks are not available for images of different platforms. Choose one platform for all images with --platform.',
    ]);
  if (replicas.length === 0)
    throw new UsageError([
      'A metalink lists the URLs of the services that have the file. Name them with --replicas.',
    ]);
}

export function createSidecarFiles(
  query: ArchiveQuery,
  { checksum, metalink }: Sidecars,
  archive: Archive | LiveArchive,
  { replicas, generator }: Publication,
): SidecarFiles {
  const lines: string[] = [];
  const sums: string[] = [];
  const files: MetalinkFile[] = [];
  return {
    hashing({ name, size, number }, target) {
      const partitions =
        size === undefined ? [unparted(Number.POSITIVE_INFINITY)] : hashedAs(size, archive.size);
      const hashers = partitions.map(createPartHasher);
      const noteHash = (): void => {
        const hashes = hashers.map((hasher) => hasher.digest());
        const file = basename(name);
        if (hashes[0]?.[0] !== undefined) sums.push(hashes[0][0]);
        lines.push(checksumLine(hashes[0]?.[0], file));
        if (!metalink || archive.size === undefined || size === undefined) return;
        const addresses = { query: pinnedQuery(query, archive), own: undefined, others: replicas };
        const urls = fileUrls(addresses, number);
        files.push(metalinkEntry({ name: file, size, urls }, partitions, hashes));
      };
      return {
        ...target,
        write(chunks) {
          for (const hasher of hashers) for (const chunk of chunks) hasher.update(chunk);
          return target.write(chunks);
        },
        commit() {
          noteHash();
          return target.commit();
        },
      };
    },
    checksums: () => sums,
    async write(name) {
      if (checksum) await writeWhole(`${name}.sha256`, lines.join(''));
      if (metalink) await writeWhole(`${name}.meta4`, renderMetalink(files, generator));
    },
  };
}

async function writeWhole(name: string, text: string): Promise<void> {
  await writeFile(name, text).catch((error: unknown) => {
    throw explainWriting(name, error);
  });
}

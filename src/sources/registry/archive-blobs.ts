import { composeArchive } from '../../archive/compose.ts';
import type { ArchiveTree } from '../../archive/entries.ts';
import { cutRange, type Layout, type Piece } from '../../archive/layout.ts';
import { verifiedReader } from '../../blobs/verified-reader.ts';
import { type BlobReader, readPart } from '../../oci/blob-reader.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RegistryClient } from '../../registry/client.ts';
import type { Archive } from '../image-source.ts';

/** Reads the blobs of one archive, each from a repository that has it. */
export interface ArchiveBlobs extends BlobReader {
  /** The configs, which were read to resolve the image and stay in memory. */
  readonly known: ReadonlyMap<Digest, Uint8Array>;
}

/** The contents of one repository. */
export interface RepositoryBlobs extends Pick<ArchiveTree, 'reference' | 'configs' | 'layers'> {
  /** The config of the first image, if it is already in memory. */
  readonly configBytes?: Uint8Array | undefined;
  /** True if the policy requires a signature, so that every blob is verified before its first byte is sent. */
  readonly isSigned: boolean;
}

/** Maximum bytes of a config kept in memory until it is sent. A larger one is read again, from the cache if present. */
const CONFIG_KEPT_MAX = 64 * 1024;

/** Reads each blob from the repository of an image that has it; a config that is known already, from memory. */
export function blobsOf(client: RegistryClient, sources: readonly RepositoryBlobs[]): ArchiveBlobs {
  const readers = new Map<Digest, BlobReader>();
  const known = new Map<Digest, Uint8Array>();
  // Unsigned repositories come first, so that a layer in both kinds gets the reader that verifies.
  for (const { reference, configs, layers, isSigned } of sources.toSorted(signedLast)) {
    const direct = client.blobs(reference);
    const reader = isSigned ? verifiedReader(direct) : direct;
    for (const { digest } of [...configs, ...layers]) readers.set(digest, reader);
  }
  for (const { configs, configBytes } of sources) {
    const [config] = configs;
    if (config === undefined || configBytes === undefined || configBytes.length > CONFIG_KEPT_MAX) continue;
    known.set(config.digest, configBytes);
  }
  const readerOf = (digest: Digest): BlobReader => {
    const reader = readers.get(digest);
    if (reader === undefined) throw new RangeError(`${digest} is not of this archive`);
    return reader;
  };
  const isStored = [...readers.values()].every(({ readVerified }) => readVerified !== undefined);
  return {
    known,
    read: (blob, ...rest) => readerOf(blob.digest).read(blob, ...rest),
    ...(isStored && {
      readVerified(blob, ...rest) {
        const reader = readerOf(blob.digest);
        return reader.readVerified?.(blob, ...rest) ?? reader.read(blob, ...rest);
      },
    }),
    readPart: (blob, range, signal) => readPart(readerOf(blob.digest), blob, range, signal),
    prefetch: async (blob, approach, signal) => readers.get(blob.digest)?.prefetch?.(blob, approach, signal),
  };
}

/** Creates a function that opens the same blobs for each request, without keeping parsed documents in its closure. */
export function blobOpener(
  client: RegistryClient,
  repositories: readonly RepositoryBlobs[],
): () => ArchiveBlobs {
  return () => blobsOf(client, repositories);
}

function signedLast(one: RepositoryBlobs, other: RepositoryBlobs): number {
  return Number(one.isSigned) - Number(other.isSigned);
}

/**
 * Creates the `read` of an archive. A function of its own, because a closure in the source would keep the parsed manifests
 * and configs in memory.
 */
export function archiveReader(layout: Layout, blobs: ArchiveBlobs): Archive['read'] {
  return (range = { start: 0, end: layout.size }, ended, onFetched) =>
    composeArchive(inlined(cutRange(layout, range), blobs.known), blobs, ended, { onFetched });
}

/** Reads blobs in memory from there, so that the first byte waits only for a layer, and not for a config. */
function inlined(pieces: readonly Piece[], known: ReadonlyMap<Digest, Uint8Array>): readonly Piece[] {
  return pieces.map(({ content, range }) => {
    const bytes = 'digest' in content ? known.get(content.digest) : undefined;
    return { content: bytes ?? content, range };
  });
}

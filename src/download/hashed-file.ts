import type { Partition } from '../archive/parts.ts';
import type { Archive } from '../sources/image-source.ts';
import type { PartHashes } from './part-hasher.ts';

/** A text file that contains hashes of an archive, such as a checksum file or a metalink. */
export interface HashedFile {
  readonly filename: string;
  readonly contentType: string;
  /** Undefined if the file is as cacheable as its archive. */
  readonly cacheControl?: string;
  /** The archives to hash. All partitions of one archive are hashed in one pass. */
  readonly hashed: readonly { readonly archive: Archive; readonly partitions: readonly Partition[] }[];
  /**
   * Writes the file.
   *
   * @param hashes by archive and by partition, in the order of `hashed`
   */
  render(hashes: readonly (readonly PartHashes[])[]): string;
}

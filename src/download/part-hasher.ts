import { createHash } from 'node:crypto';
import type { Partition } from '../archive/parts.ts';

/** The sha256 of a file, or of each of its parts, in lowercase hex digits, in their order. */
export type PartHashes = readonly [string, ...string[]];

/** Hashes a file as it passes. */
export interface PartHasher {
  update(chunk: Uint8Array): void;
  /** Finishes hashing. @throws RangeError if no byte was hashed */
  digest(): PartHashes;
}

/** Hashes the parts of a file, one after the other. */
export function createPartHasher({ partSize, count }: Partition): PartHasher {
  const hashes: string[] = [];
  let part = createHash('sha256');
  let missing = partSize;
  return {
    update(chunk) {
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
    },
    digest() {
      if (hashes.length < count) hashes.push(part.digest('hex'));
      if (!isSome(hashes)) throw new RangeError('A file needs at least one part');
      return hashes;
    },
  };
}

/** Tells whether the file has any parts. */
export function isSome(hashes: readonly string[]): hashes is PartHashes {
  return hashes.length > 0;
}

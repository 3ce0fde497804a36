import type { Readable } from 'node:stream';
import { CatalogueError } from '../errors.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import { streamFrom } from '../streams.ts';
import type { Piece } from './layout.ts';

/**
 * Streams pieces of an archive, one after the other. The stream ends after exactly their bytes or fails, so that
 * what is broken never looks whole. Destroying it ends the read under way.
 */
export function composeArchive(pieces: readonly Piece[], blobs: BlobReader, signal: AbortSignal): Readable {
  return streamFrom((ended) => piecesInTurn(pieces, blobs, ended), signal);
}

async function* piecesInTurn(
  pieces: readonly Piece[],
  blobs: BlobReader,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (const { content, range } of pieces) {
    if (content instanceof Uint8Array) {
      yield content.subarray(range.start, range.end);
      continue;
    }
    let missing = range.end - range.start;
    for await (const chunk of (await blobs.read(content, range, signal)) as AsyncIterable<Uint8Array>) {
      missing -= chunk.length;
      if (missing < 0) break;
      yield chunk;
    }
    if (missing !== 0) {
      throw new CatalogueError(
        'content-mismatch',
        `The blob ${content.digest} is not as long as the manifest says.`,
      );
    }
  }
}

import type { Readable } from 'node:stream';
import { CatalogueError } from '../errors.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { relay } from '../streams.ts';
import type { Piece } from './layout.ts';

/** How many blobs after the one that is sent are fetched ahead. */
const AHEAD = 3;

/**
 * Streams pieces of an archive, one after the other. The stream ends after exactly their bytes or fails, so that
 * what is broken never looks whole. Destroying it ends the read under way.
 */
export function composeArchive(pieces: readonly Piece[], blobs: BlobReader, signal: AbortSignal): Readable {
  let missing = 0;
  let blob: Descriptor | undefined;
  const pieceByPiece = async function* (ended: AbortSignal): AsyncGenerator<Uint8Array | Readable, void> {
    for (const [index, { content, range }] of pieces.entries()) {
      if (content instanceof Uint8Array) {
        yield content.subarray(range.start, range.end);
        continue;
      }
      for (const later of blobsAfter(pieces, index, AHEAD)) blobs.prefetch?.(later, ended);
      blob = content;
      missing = range.end - range.start;
      yield await blobs.read(content, range, ended);
      if (missing > 0) throw wrongLength(content);
    }
  };
  return relay(pieceByPiece, signal, (chunk) => {
    missing -= chunk.length;
    if (missing < 0 && blob !== undefined) throw wrongLength(blob);
  });
}

/** Finds the next few whole blobs after a piece. Stops early, because an archive may have ten thousand blobs. */
function blobsAfter(pieces: readonly Piece[], index: number, most: number): Descriptor[] {
  const found: Descriptor[] = [];
  for (let at = index + 1; at < pieces.length && found.length < most; at++) {
    const piece = pieces[at];
    if (piece !== undefined && isWholeBlob(piece)) found.push(piece.content);
  }
  return found;
}

function isWholeBlob(piece: Piece): piece is Piece & { readonly content: Descriptor } {
  const { content, range } = piece;
  return !(content instanceof Uint8Array) && range.start === 0 && range.end === content.size;
}

function wrongLength({ digest }: Descriptor): CatalogueError {
  return new CatalogueError('content-mismatch', `The blob ${digest} is not as long as the manifest says.`);
}

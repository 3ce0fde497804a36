import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { detail } from '../errors/details.ts';
import { type ErrorCode, ServiceError } from '../errors.ts';
import type { Approach, BlobReader, Demand } from '../oci/blob-reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { DirectStream, relay } from '../util/streams.ts';
import type { Piece } from './layout.ts';
import { createReadAheadControl, SAMPLE_MS } from './read-ahead.ts';
import { isSpliced, readSpliced, type Spliced } from './splice.ts';

/** How many blobs after the one that is sent are fetched ahead. */
const AHEAD = 3;
/** Maximum bytes of a blob that is always fetched ahead, because the request takes longer than the transfer. */
const SMALL = 512 * 1024;
/** Maximum milliseconds that the first byte waits until the fetches of the next blobs have started. */
const MOMENT_MS = 250;
/** Errors that would occur again if the blob were read later. */
const FINAL: ReadonlySet<ErrorCode> = new Set(['size-mismatch', 'layer-unavailable']);

export interface ComposeOptions {
  /** As in {@link Demand}. */
  readonly onFetched?: Demand['onFetched'];
  /** Maximum milliseconds that the first byte waits until the fetches of the next blobs have started; 250 if absent. */
  readonly moment?: number;
  /** Returns a monotonic time in milliseconds. */
  readonly now?: () => number;
}

/**
 * Streams pieces of an archive, one after the other. The stream ends after exactly their bytes or fails, so that what
 * is broken never looks whole. Destroying it ends the read under way.
 *
 * Sends the first byte once the first blob has started. A missing blob, or one with a wrong size, is then an error that
 * can still be reported. Blobs that are fetched ahead get a moment for the same check. If one of them is refused later,
 * the stream fails at once.
 */
export function composeArchive(
  pieces: readonly Piece[],
  blobs: BlobReader,
  signal: AbortSignal,
  { onFetched, moment = MOMENT_MS, now = () => performance.now() }: ComposeOptions = {},
): Readable {
  let missing = 0;
  /** Bytes sent so far, of all pieces. */
  let sent = 0;
  let current: Descriptor | Spliced | undefined;
  let sending: Readable | undefined;
  const control = createReadAheadControl(AHEAD);
  /** The number of next blobs that may be fetched now. */
  let allowed = 0;
  let timer: NodeJS.Timeout | undefined;
  const waiting = new Set<() => void>();
  /** The next blobs, nearest first. Each starts only once. */
  let upcoming: { readonly content: Descriptor; readonly begin: () => Promise<void> | undefined }[] = [];
  const regulate = (): void => {
    clearTimeout(timer);
    const ready = sending instanceof DirectStream ? sending.ready : 0;
    const before = allowed;
    allowed = control.update({ now: now(), sent, ready, isWhole: ready >= missing });
    if (control.isTrying) timer = setTimeout(regulate, SAMPLE_MS).unref();
    if (allowed === before) return;
    for (const call of waiting) call();
    beginAllowed();
  };
  const isAllowed = (rank: number, { size }: Descriptor): boolean => rank < allowed || size <= SMALL;
  const beginAllowed = (): void => {
    for (const [rank, { content, begin }] of upcoming.entries()) if (isAllowed(rank, content)) begin();
  };
  const refuse = (error: unknown): void => {
    if (error instanceof ServiceError && FINAL.has(error.code)) archive.destroy(error);
  };
  const blobsAhead = (index: number, ended: AbortSignal): typeof upcoming => {
    const from = sent;
    return blobsAfter(pieces, index, AHEAD).map(({ content, distance }, rank) => {
      const approach: Approach = {
        get position() {
          return isAllowed(rank, content) ? sent - from - distance : Number.NEGATIVE_INFINITY;
        },
        get isHarmful() {
          return control.wasHarmful && !isAllowed(rank, content);
        },
        onFetched,
        onChange(call) {
          waiting.add(call);
          return () => waiting.delete(call);
        },
      };
      let begun: Promise<void> | undefined;
      return { content, begin: () => (begun ??= blobs.prefetch?.(content, approach, ended).catch(refuse)) };
    });
  };

  const pieceByPiece = async function* (ended: AbortSignal): AsyncGenerator<Uint8Array | Readable, void> {
    let head: Uint8Array[] | undefined = [];
    for (const [index, { content, range }] of pieces.entries()) {
      if (content instanceof Uint8Array) {
        const bytes = content.subarray(range.start, range.end);
        if (head === undefined) yield bytes;
        else head.push(bytes);
        sent += bytes.length;
        continue;
      }
      upcoming = blobsAhead(index, ended);
      // Start the next blobs only at the beginning. Later, a waiting connection that fills its buffers would slow the current
      // blob.
      const begun = head === undefined ? [] : upcoming.map(({ begin }) => begin());
      const stream = isSpliced(content)
        ? readSpliced(content, range, blobs, ended, onFetched)
        : await blobs.read(content, range, ended, onFetched);
      if (head !== undefined) {
        // An error without a listener would end the process.
        stream.on('error', () => {});
        await Promise.race([Promise.all(begun), delay(moment, undefined, { signal: ended, ref: false })]);
        yield* head;
        head = undefined;
        // A slow client may have taken long over the first bytes.
        if (stream.destroyed) throw stream.errored ?? new Error('The blob was cut off.');
      }
      current = content;
      missing = range.end - range.start;
      sending = stream;
      control.next();
      regulate();
      beginAllowed();
      yield stream;
      if (missing > 0) throw wrongLength(content);
    }
    if (head !== undefined) yield* head;
  };

  const archive = relay(pieceByPiece, signal, (chunk) => {
    missing -= chunk.length;
    sent += chunk.length;
    if (missing < 0 && current !== undefined) throw wrongLength(current);
    regulate();
  });
  return archive.once('close', () => clearTimeout(timer));
}

/** A blob that is sent later, and the number of bytes that are sent before it. */
interface Later {
  readonly content: Descriptor;
  readonly distance: number;
}

/** Finds the next few whole blobs after a piece. Stops early, because an archive may have ten thousand blobs. */
function blobsAfter(pieces: readonly Piece[], index: number, most: number): Later[] {
  const found: Later[] = [];
  let distance = 0;
  for (let at = index; at < pieces.length && found.length < most; at++) {
    const piece = pieces[at];
    if (piece === undefined) break;
    if (at > index && isWholeBlob(piece)) found.push({ content: piece.content, distance });
    distance += piece.range.end - piece.range.start;
  }
  return found;
}

function isWholeBlob(piece: Piece): piece is Piece & { readonly content: Descriptor } {
  const { content, range } = piece;
  return (
    !(content instanceof Uint8Array || isSpliced(content)) && range.start === 0 && range.end === content.size
  );
}

function wrongLength(content: Descriptor | Spliced): ServiceError {
  const digest = isSpliced(content) ? content.blob?.digest : content.digest;
  return new ServiceError('content-mismatch', detail('blob-length-wrong', { digest: `${digest}` }));
}

/** Bytes that several readers use at once. */
export interface LentBytes {
  readonly bytes: Buffer;
  /** Ends the use. Called once; the memory is then used again. */
  readonly release: () => void;
}

/** The latest bytes of a fetch, in memory, for readers that keep up with it. */
export interface RecentBytes {
  /**
   * Adds the next bytes. Drops the oldest bytes that no reader needs, or that exceed the limits.
   *
   * @param start the position of the first byte
   * @param release called once when no reader uses these bytes any more
   */
  add(start: number, bytes: Buffer, release: () => void): void;
  /** Drops bytes as {@link add} does. Call it once fewer bytes must be kept. */
  trim(): void;
  /** Lends the bytes from a position on, as far as they were added at once; undefined if they are not in memory. */
  lend(position: number): LentBytes | undefined;
  /** Checks whether the byte at a position is in memory. */
  has(position: number): boolean;
  /** Drops all bytes. */
  clear(): void;
}

/** Limits the bytes that all fetches together hold for their readers. */
export interface RecentBytesBudget {
  /** Bytes. */
  readonly limit: number;
  held: number;
}

export interface RecentBytesOptions {
  readonly budget: RecentBytesBudget;
  /** The positions of the readers. */
  readonly positions: () => Iterable<number>;
  /** Maximum bytes that one fetch keeps. */
  readonly window: number;
  /** Returns the position from which on bytes are kept despite all limits; absent if they are in a file. */
  readonly mustKeep?: () => number;
}

interface Piece {
  readonly start: number;
  readonly end: number;
  readonly bytes: Buffer;
  readonly release: () => void;
  /** The readers that use it, and the list of pieces while it has it. */
  users: number;
}

export function createRecentBytes({
  budget,
  positions,
  window,
  mustKeep = () => Number.POSITIVE_INFINITY,
}: RecentBytesOptions): RecentBytes {
  const pieces: Piece[] = [];
  const leave = (piece: Piece): void => {
    piece.users -= 1;
    if (piece.users > 0) return;
    budget.held -= piece.bytes.length;
    piece.release();
  };
  const dropFirst = (): void => {
    const piece = pieces.shift();
    if (piece !== undefined) leave(piece);
  };
  /** Returns the lowest position from which a reader may still need bytes before `end`. */
  const neededFrom = (end: number): number => {
    let lowest = end;
    for (const position of positions()) {
      if (position >= end - window) lowest = Math.min(lowest, position);
    }
    return lowest;
  };

  const trim = (): void => {
    const end = pieces.at(-1)?.end ?? 0;
    const needed = neededFrom(end);
    for (;;) {
      const [first] = pieces;
      if (first === undefined) return;
      const isTooFar = first.start < end - window;
      if (first.end > needed && !isTooFar && budget.held <= budget.limit) return;
      if (first.end > mustKeep()) return;
      dropFirst();
    }
  };

  const pieceAt = (position: number): Piece | undefined =>
    pieces.findLast(({ start, end }) => position >= start && position < end);

  return {
    add(start, bytes, release) {
      const end = start + bytes.length;
      pieces.push({ start, end, bytes, release, users: 1 });
      budget.held += bytes.length;
      trim();
    },
    trim,
    lend(position) {
      const piece = pieceAt(position);
      if (piece === undefined) return undefined;
      piece.users += 1;
      return { bytes: piece.bytes.subarray(position - piece.start), release: () => leave(piece) };
    },
    has: (position) => pieceAt(position) !== undefined,
    clear() {
      while (pieces.length > 0) dropFirst();
    },
  };
}

import { LOW_WATER, PINNED_ELSEWHERE_MS } from '../src/blobs/disk-quota.ts';

/** A cache as src/blobs keeps it within its bytes, without the bytes. */
export interface LruModel {
  /**
   * Asks for a blob, which is kept from then on, if there is room for it.
   *
   * @param blob its number, from 0 on
   * @param now milliseconds; never less than before
   * @returns true if it was there
   */
  use(blob: number, now: number): boolean;
  has(blob: number): boolean;
  /** Bytes of all blobs that are there. */
  readonly bytes: number;
}

export interface LruModelOptions {
  /** Bytes. */
  readonly limit: number;
  /** Bytes of each blob, by its number. */
  readonly sizes: ArrayLike<number>;
  /** Milliseconds for which a blob that was used does not go. */
  readonly protectedFor?: number;
}

const ABSENT = -2;
const NONE = -1;

/** The least recently used go first, down to the low-water mark; what is larger than the cache passes through. */
export function createLruModel({
  limit,
  sizes,
  protectedFor = PINNED_ELSEWHERE_MS,
}: LruModelOptions): LruModel {
  // A list through arrays, as there are millions of uses: from the one that was used last to the one used first.
  const older = new Int32Array(sizes.length).fill(ABSENT);
  const newer = new Int32Array(sizes.length).fill(ABSENT);
  const used = new Float64Array(sizes.length);
  let newest = NONE;
  let oldest = NONE;
  let total = 0;

  const has = (blob: number): boolean => older[blob] !== ABSENT;
  const sizeOf = (blob: number): number => sizes[blob] ?? 0;

  const unlink = (blob: number): void => {
    const before = newer[blob] ?? NONE;
    const after = older[blob] ?? NONE;
    if (before === NONE) newest = after;
    else older[before] = after;
    if (after === NONE) oldest = before;
    else newer[after] = before;
    older[blob] = ABSENT;
  };

  const put = (blob: number, now: number): void => {
    older[blob] = newest;
    newer[blob] = NONE;
    if (newest === NONE) oldest = blob;
    else newer[newest] = blob;
    newest = blob;
    used[blob] = now;
  };

  const makeRoom = (bytes: number, now: number): boolean => {
    if (bytes > limit) return false;
    if (total + bytes <= limit) return true;
    while (oldest !== NONE && total + bytes > limit * LOW_WATER) {
      if ((used[oldest] ?? 0) > now - protectedFor) break;
      total -= sizeOf(oldest);
      unlink(oldest);
    }
    return total + bytes <= limit;
  };

  return {
    has,
    get bytes() {
      return total;
    },
    use(blob, now) {
      if (has(blob)) {
        unlink(blob);
        put(blob, now);
        return true;
      }
      if (!makeRoom(sizeOf(blob), now)) return false;
      total += sizeOf(blob);
      put(blob, now);
      return false;
    },
  };
}

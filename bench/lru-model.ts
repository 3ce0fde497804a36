import { LOW_WATER, PINNED_ELSEWHERE_MS } from '../src/blobs/disk-quota.ts';

/** A model of the cache in src/blobs and its eviction, without contents. */
export interface LruModel {
  /**
   * Requests a blob, and stores it if it fits.
   *
   * @param blob its number, from 0 on
   * @param now milliseconds that never decrease
   * @returns true if it was stored
   */
  use(blob: number, now: number): boolean;
  has(blob: number): boolean;
  /** Bytes of all stored blobs. */
  readonly bytes: number;
}

export interface LruModelOptions {
  /** Bytes. */
  readonly limit: number;
  /** Bytes of each blob, by its number. */
  readonly sizes: ArrayLike<number>;
  /** Milliseconds for which a used blob is protected from eviction. */
  readonly protectedFor?: number;
}

const ABSENT = -2;
const NONE = -1;

/**
 * Evicts the least recently used blobs down to the low-water mark. A blob that is larger than the cache is not stored.
 */
export function createLruModel({
  limit,
  sizes,
  protectedFor = PINNED_ELSEWHERE_MS,
}: LruModelOptions): LruModel {
  // A linked list in arrays, because a run has millions of requests. It begins with the most recently used blob.
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

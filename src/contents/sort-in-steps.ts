/** Comparisons between two yields: a few milliseconds. */
const STEP = 16_384;

/**
 * Sorts numbers by merging. Yields between steps, so that millions of them do not hold up the event loop. Numbers in
 * order take one comparison for each merge.
 *
 * @param compare negative if the first is less
 */
export function* sortInSteps(
  numbers: Int32Array<ArrayBuffer>,
  compare: (one: number, other: number) => number,
): Generator<void, Int32Array> {
  let [from, to] = [numbers, new Int32Array(numbers.length)];
  let work = 0;
  for (let width = 1; width < numbers.length; width *= 2) {
    for (let start = 0; start < numbers.length; start += 2 * width) {
      const middle = Math.min(start + width, numbers.length);
      const end = Math.min(start + 2 * width, numbers.length);
      if (middle === end || compare(from[middle - 1] ?? 0, from[middle] ?? 0) <= 0) {
        to.set(from.subarray(start, end), start);
        if (work++ % STEP === 0) yield;
        continue;
      }
      for (let at = start, left = start, right = middle; at < end; at++) {
        const isLeft = right === end || (left < middle && compare(from[left] ?? 0, from[right] ?? 0) <= 0);
        to[at] = from[isLeft ? left++ : right++] ?? 0;
        if (work++ % STEP === 0) yield;
      }
    }
    [from, to] = [to, from];
  }
  return from;
}

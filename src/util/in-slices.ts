import { setImmediate as nextTurn } from 'node:timers/promises';

/** Milliseconds of work between two turns of the event loop. */
const SLICE_MS = 8;

/**
 * Runs a generator to its end in slices of a few milliseconds, so that other requests go on meanwhile.
 *
 * @throws the reason of the signal if it aborts, or what the work throws
 */
export async function inSlices<T>(work: Generator<void, T>, signal: AbortSignal): Promise<T> {
  for (let start = performance.now(); ; ) {
    const { done, value } = work.next();
    if (done) return value;
    if (performance.now() - start < SLICE_MS) continue;
    await nextTurn();
    signal.throwIfAborted();
    start = performance.now();
  }
}

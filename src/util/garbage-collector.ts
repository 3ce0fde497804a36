import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** V8's function, with the options that it takes. */
type Collect = (options?: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void;

/** Milliseconds from the end of the startup until its memory is freed, so that first requests do not wait. */
const STARTED_MS = 1_000;

/**
 * Creates a function that collects all garbage immediately. V8 reacts to the growth of its heap, but hardly to buffers
 * outside it, and an idle process does not collect at all.
 */
export function createGarbageCollector(): () => void {
  let collect: Collect | undefined;
  return () => {
    collect ??= exposeCollect();
    collect();
  };
}

/**
 * Frees the memory that only the startup needed, a moment from now. Loading the program grows the space for new objects
 * to its maximum, and an idle process keeps that, with the garbage in it. Only a collection of last resort shrinks it,
 * and stops everything else for a tenth of a second.
 *
 * @param isIdle the collection waits until this returns true; always idle if absent
 */
export function freeStartupMemory(isIdle: () => boolean = () => true): void {
  const timer = setInterval(() => {
    if (!isIdle()) return;
    clearInterval(timer);
    exposeCollect()({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  }, STARTED_MS).unref();
}

function exposeCollect(): Collect {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as Collect;
  setFlagsFromString('--no-expose-gc');
  return collect;
}

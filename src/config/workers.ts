import type { Config, GivenSettings } from './schema.ts';
import { SOURCES } from './sources.ts';
import { isLoopback } from './tls.ts';

/** The memory of a fully loaded worker, several times that of an idle one. */
const WORKER_BYTES = 256 * 2 ** 20;

/** The resources of the machine for this service. */
export interface Machine {
  readonly cores: number;
  /** Bytes; the limit of the control group, if one exists. */
  readonly memory: number;
}

/**
 * Chooses the number of processes. One is enough behind an engine, which does the work. One also suffices on a loopback
 * address, which few clients reach, unless it is behind a proxy.
 *
 * @param mistakes takes a sentence for each setting that several workers contradict
 */
export function settleWorkers(
  { workers, source, limitsStore }: GivenSettings,
  { host }: Pick<Config, 'host'>,
  mistakes: string[],
): number | 'auto' {
  const oneProcess = source && SOURCES[source].oneProcess;
  const isOneByOne = oneProcess !== undefined || limitsStore === 'memory';
  if (typeof workers === 'number' && workers > 1) {
    if (oneProcess !== undefined) {
      mistakes.push(`--workers ${workers} and --source ${source}: ${oneProcess}; leave --workers out.`);
    }
    if (limitsStore === 'memory') {
      mistakes.push(
        `--workers ${workers} and --limits-store memory: each process would count by itself; take sqlite, or one worker.`,
      );
    }
  }
  if (isOneByOne) return 1;
  return workers ?? (isLoopback(host) ? 1 : 'auto');
}

/** How many processes serve on a machine. */
export function countWorkers({ workers }: Pick<Config, 'workers'>, { cores, memory }: Machine): number {
  if (workers !== 'auto') return workers;
  return Math.max(Math.min(cores, Math.floor(memory / WORKER_BYTES)), 1);
}

/** Bytes. With fewer, a worker could run out of heap: it starts with 25 MiB, and its caches may hold 32 MiB more. */
const LEAST_HEAP = 96 * 2 ** 20;
/** The share of the memory that the heaps of all workers may take. The rest is for code and buffers. */
const HEAP_SHARE = 1 / 3;

/**
 * Returns the maximum heap of each worker, in bytes. By default, the heap of each process may grow to half of the
 * memory of all of them, and V8 collects little garbage before.
 *
 * @param most bytes that V8 chooses by default
 */
export function workerHeap(memory: number, workers: number, most: number): number {
  return Math.min(Math.max((memory * HEAP_SHARE) / workers, LEAST_HEAP), most);
}

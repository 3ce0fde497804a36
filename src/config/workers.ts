import type { Config, GivenSettings } from './schema.ts';
import { isLoopback } from './tls.ts';

/** What a worker takes with everything that it may hold, several times what it has when nothing is asked of it. */
const WORKER_BYTES = 256 * 2 ** 20;

/** What the machine has for this service. */
export interface Machine {
  readonly cores: number;
  /** Bytes, by the limit of its group where it has one. */
  readonly memory: number;
}

/**
 * Settles how many processes serve. One does where more make no difference: behind an engine, which does the work, and
 * on a loopback address, where nobody comes in numbers, unless it is a proxy.
 *
 * @param mistakes takes a sentence for each setting that several workers contradict
 */
export function settleWorkers(
  { workers, source, limitsStore }: GivenSettings,
  { host }: Pick<Config, 'host'>,
  mistakes: string[],
): number | 'auto' {
  const isOneByOne = source === 'engine' || limitsStore === 'memory';
  if (typeof workers === 'number' && workers > 1) {
    if (source === 'engine') {
      mistakes.push(
        `--workers ${workers} and --source engine: pulls wait in the queue of one process; leave --workers out.`,
      );
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

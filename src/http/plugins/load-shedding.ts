import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import type { FastifyInstance } from 'fastify';
import { CatalogueError } from '../../errors.ts';
import type { MemoryCaches } from '../../memory-caches.ts';
import { isHealthCheck } from './clients.ts';

/** Limits above which new requests are refused, so that those in progress can finish. */
export interface PressureLimits {
  /** Milliseconds that the event loop is late, averaged over an interval; 0 sets no limit. */
  readonly maxDelay: number;
  /** Bytes of V8's heap. */
  readonly maxHeap: number;
  /** Milliseconds between samples. */
  readonly interval: number;
}

/** A value that exceeds its limit, by the name that the log uses. */
interface Pressure {
  readonly type: 'eventLoopDelay' | 'heapUsedBytes';
  readonly value: number;
}

const RETRY_AFTER_S = 10;
/** Milliseconds between two lines of the log. */
const LOG_PAUSE_MS = 10_000;
/** Milliseconds between the ticks that measure the event loop. */
const TICK_MS = 10;
const NS_PER_MS = 1e6;
/** Samples between two removals of expired cache entries. */
const SAMPLES_PER_PURGE = 30;

/** Limits the heap too, because the process dies when the heap is full. @param maxDelay as in {@link PressureLimits} */
export function standardPressureLimits(maxDelay: number): PressureLimits {
  return { maxDelay, maxHeap: getHeapStatistics().heap_size_limit * 0.85, interval: 1000 };
}

/**
 * Answers requests other than health checks with 503 and Retry-After while the process is overloaded. If memory is
 * short, empties caches first.
 */
export function shedLoad(app: FastifyInstance, limits: PressureLimits, caches: MemoryCaches): void {
  let logged = Number.NEGATIVE_INFINITY;
  const findPressure = watchPressure(app, limits, caches);
  app.addHook('onRequest', async ({ routeOptions }) => {
    const pressure = findPressure();
    if (pressure === undefined || isHealthCheck(routeOptions.url)) return;
    if (performance.now() - logged > LOG_PAUSE_MS) {
      logged = performance.now();
      app.log.warn({ ...pressure }, 'Overloaded; refusing new requests');
    }
    throw new CatalogueError('overloaded', 'This service is overloaded.', {
      retryAfter: RETRY_AFTER_S,
    });
  });
}

/**
 * Samples the event loop and the heap until the server closes. A sample opens no file: process.memoryUsage() opens
 * /proc/self/stat, and throws EMFILE from its timer once clients hold all descriptors.
 *
 * @returns the limit that the last sample exceeds
 */
function watchPressure(
  app: FastifyInstance,
  { maxDelay, maxHeap, interval }: PressureLimits,
  caches: MemoryCaches,
): () => Pressure | undefined {
  let pressure: Pressure | undefined;
  const ticks = monitorEventLoopDelay({ resolution: TICK_MS });
  ticks.enable();
  let samples = 0;
  const purgeNow = (): void => {
    samples += 1;
    if (samples % SAMPLES_PER_PURGE === 0) caches.purge();
  };
  const sample = (): void => {
    // Without a tick, the loop was blocked for the whole interval.
    const delay = ticks.count === 0 ? Number.POSITIVE_INFINITY : ticks.mean / NS_PER_MS - TICK_MS;
    const heap = getHeapStatistics().used_heap_size;
    ticks.reset();
    if (maxDelay > 0 && delay > maxDelay) pressure = { type: 'eventLoopDelay', value: delay };
    else if (heap > maxHeap) pressure = { type: 'heapUsedBytes', value: heap };
    else pressure = undefined;
    // Caches are emptied here, because refused requests evict nothing.
    if (pressure !== undefined && pressure.type !== 'eventLoopDelay') caches.clear();
    purgeNow();
  };
  // Restarting the timer after each sample, rather than repeating it, keeps samples a whole interval apart even when
  // late.
  const timer = setTimeout(() => {
    sample();
    timer.refresh();
  }, interval);
  timer.unref();
  app.addHook('onClose', async () => {
    clearTimeout(timer);
    ticks.disable();
  });
  return () => pressure;
}

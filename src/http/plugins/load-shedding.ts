import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import type { FastifyInstance } from 'fastify';
import { CatalogueError } from '../../errors.ts';
import type { MemoryCaches } from '../../memory-caches.ts';
import { isHealthCheck } from './clients.ts';

/** When new requests are refused, so that what is under way gets done. */
export interface PressureLimits {
  /** Milliseconds that the event loop is late, on average of an interval; 0 sets no limit. */
  readonly maxDelay: number;
  /** Bytes of V8's heap. */
  readonly maxHeap: number;
  /** Milliseconds between two looks. */
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
/** Expired entries of caches are removed once in so many samples. */
const SAMPLES_PER_PURGE = 30;

/** Limits the heap too, because the process ends where it is full. @param maxDelay as in {@link PressureLimits} */
export function standardPressureLimits(maxDelay: number): PressureLimits {
  return { maxDelay, maxHeap: getHeapStatistics().heap_size_limit * 0.85, interval: 1000 };
}

/**
 * Answers 503 with Retry-After while the process has more to do than it can; health checks are answered meanwhile. Where
 * memory is short, caches are emptied first.
 */
export function shedLoad(app: FastifyInstance, limits: PressureLimits, caches: MemoryCaches): void {
  let logged = Number.NEGATIVE_INFINITY;
  const findPressure = watchPressure(app, limits, caches);
  app.addHook('onRequest', async ({ routeOptions }) => {
    const pressure = findPressure();
    if (pressure === undefined || isHealthCheck(routeOptions.url)) return;
    if (performance.now() - logged > LOG_PAUSE_MS) {
      logged = performance.now();
      app.log.warn({ ...pressure }, 'Overloaded: new requests are refused for a while');
    }
    throw new CatalogueError('overloaded', 'This service has more to do than it can at the moment.', {
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
    // No tick in a whole interval: the loop was blocked all that time.
    const delay = ticks.count === 0 ? Number.POSITIVE_INFINITY : ticks.mean / NS_PER_MS - TICK_MS;
    const heap = getHeapStatistics().used_heap_size;
    ticks.reset();
    if (maxDelay > 0 && delay > maxDelay) pressure = { type: 'eventLoopDelay', value: delay };
    else if (heap > maxHeap) pressure = { type: 'heapUsedBytes', value: heap };
    else pressure = undefined;
    // Requests that are refused evict nothing.
    if (pressure !== undefined && pressure.type !== 'eventLoopDelay') caches.clear();
    purgeNow();
  };
  // A late timer starts its next interval after the sample, so that a sample always covers a whole interval.
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

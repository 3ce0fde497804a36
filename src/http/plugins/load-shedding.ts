import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { FastifyInstance } from 'fastify';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { MemoryCaches } from '../../util/memory-caches.ts';
import type { MemoryGauge } from '../../util/memory-gauges.ts';
import { whenOver } from '../protocol/client-abort.ts';
import { isHealthCheck } from './clients.ts';

/** Limits above which new requests are refused, so that those in progress can finish. */
export interface PressureLimits {
  /** Milliseconds that the event loop is late, averaged over four samples; 0 sets no limit. */
  readonly maxDelay: number;
  /** Memory whose limits end the process when exceeded. */
  readonly memory: readonly MemoryGauge[];
  /** Collects garbage, because garbage counts as used memory. */
  readonly collectGarbage: () => void;
  /** Milliseconds between samples. */
  readonly interval: number;
}

/** A value that exceeds its limit, by the name that the log uses. */
interface Pressure {
  readonly type: string;
  readonly value: number;
  readonly limit: number;
}

const LATE = 'eventLoopDelay';
const RETRY_AFTER_S = 10;
/** Milliseconds between two lines of the log. */
const LOG_PAUSE_MS = 10_000;
/** Milliseconds between the ticks that measure the event loop. */
const TICK_MS = 10;
const NS_PER_MS = 1e6;
/** Memory grows faster than the event loop gets late. */
const SAMPLES_PER_DELAY = 4;
/** Samples between two removals of expired cache entries. */
const SAMPLES_PER_PURGE = 120;
/** Shares of a memory limit: above the first, caches are emptied; above the second, requests are refused. */
const RELIEF_SHARE = 0.75;
const REFUSAL_SHARE = 0.85;
/** Minimum samples between two garbage collections while no request is refused. */
const SAMPLES_PER_RELIEF = 20;

/**
 * Answers requests other than health checks with 503 and Retry-After while the process is overloaded. If memory is
 * short, empties caches first, and refuses a request only while others are in flight. An idle process must accept one,
 * because the allocator keeps freed memory, so that its use may never decrease.
 */
export function shedLoad(app: FastifyInstance, limits: PressureLimits, caches: MemoryCaches): void {
  let logged = Number.NEGATIVE_INFINITY;
  let inFlight = 0;
  const findPressure = watchPressure(app, limits, caches);
  app.addHook('onRequest', ({ routeOptions }, reply, done) => {
    if (isHealthCheck(routeOptions.url)) return done();
    const pressure = findPressure();
    if (pressure === undefined || (pressure.type !== LATE && inFlight === 0)) {
      inFlight += 1;
      whenOver(reply, () => {
        inFlight -= 1;
      });
      return done();
    }
    if (performance.now() - logged > LOG_PAUSE_MS) {
      logged = performance.now();
      app.log.warn({ ...pressure }, 'Overloaded; refusing new requests');
    }
    throw new ServiceError('overloaded', detail('service-overloaded', {}), {
      retryAfter: RETRY_AFTER_S,
    });
  });
}

/**
 * Samples the event loop and memory until the server closes. A sample opens no file: process.memoryUsage() opens
 * /proc/self/stat, and throws EMFILE from its timer once clients hold all descriptors.
 *
 * @returns a function that returns the limit that the last sample exceeded
 */
function watchPressure(
  app: FastifyInstance,
  { maxDelay, memory, collectGarbage, interval }: PressureLimits,
  caches: MemoryCaches,
): () => Pressure | undefined {
  let pressure: Pressure | undefined;
  const ticks = monitorEventLoopDelay({ resolution: TICK_MS });
  ticks.enable();
  let samples = 0;
  let relieved = Number.NEGATIVE_INFINITY;
  /** Empties caches and collects garbage first, so that neither causes a refusal. */
  const findMemoryPressure = (): Pressure | undefined => {
    const isFull = findFull(memory, REFUSAL_SHARE) !== undefined;
    const isDue = samples - relieved >= SAMPLES_PER_RELIEF && findFull(memory, RELIEF_SHARE) !== undefined;
    if (!isFull && !isDue) return undefined;
    relieved = samples;
    caches.clear();
    collectGarbage();
    return findFull(memory, REFUSAL_SHARE);
  };
  let late: Pressure | undefined;
  const findDelay = (): Pressure | undefined => {
    // Without a tick, the loop was blocked for the whole time.
    const delay = ticks.count === 0 ? Number.POSITIVE_INFINITY : ticks.mean / NS_PER_MS - TICK_MS;
    ticks.reset();
    return maxDelay > 0 && delay > maxDelay ? { type: LATE, value: delay, limit: maxDelay } : undefined;
  };
  const sample = (): void => {
    samples += 1;
    if (samples % SAMPLES_PER_PURGE === 0) caches.purge();
    if (samples % SAMPLES_PER_DELAY === 0) late = findDelay();
    const short = findMemoryPressure();
    pressure = late ?? short;
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

function findFull(gauges: readonly MemoryGauge[], share: number): Pressure | undefined {
  for (const gauge of gauges) {
    const { used, limit } = gauge.read() ?? { used: 0, limit: Number.POSITIVE_INFINITY };
    if (used > limit * share) return { type: gauge.name, value: used, limit: Math.floor(limit * share) };
  }
  return undefined;
}

import { getHeapStatistics } from 'node:v8';
import underPressure from '@fastify/under-pressure';
import type { FastifyInstance } from 'fastify';
import { CatalogueError } from '../../errors.ts';
import { isHealthCheck } from './clients.ts';

/** When new requests are refused, so that what is under way gets done. */
export interface PressureLimits {
  /** Milliseconds that the event loop is late, on average of an interval. */
  readonly maxDelay: number;
  /** Bytes of V8's heap. */
  readonly maxHeap: number;
  /** Milliseconds between two looks. */
  readonly interval: number;
}

const RETRY_AFTER_S = 10;
/** Milliseconds between two lines of the log. */
const LOG_PAUSE_MS = 10_000;

/** The process ends where its heap is full. */
export function standardPressureLimits(): PressureLimits {
  return { maxDelay: 500, maxHeap: getHeapStatistics().heap_size_limit * 0.85, interval: 1000 };
}

/** Answers 503 with Retry-After while the process has more to do than it can; health checks are answered meanwhile. */
export async function shedLoad(app: FastifyInstance, limits: PressureLimits): Promise<void> {
  let logged = Number.NEGATIVE_INFINITY;
  await app.register(underPressure, {
    maxEventLoopDelay: limits.maxDelay,
    maxHeapUsedBytes: limits.maxHeap,
    sampleInterval: limits.interval,
    // What it throws has to be a rejection: the plugin does not catch.
    pressureHandler: async ({ routeOptions }, _reply, type, value) => {
      if (isHealthCheck(routeOptions.url)) return;
      if (performance.now() - logged > LOG_PAUSE_MS) {
        logged = performance.now();
        app.log.warn({ type, value }, 'Overloaded: new requests are refused for a while');
      }
      throw new CatalogueError('overloaded', 'This service has more to do than it can at the moment.', {
        retryAfter: RETRY_AFTER_S,
      });
    },
  });
}

import { Counter, Gauge, Registry } from 'prom-client';
import type { MetricsSnapshot } from './metrics.ts';

/** Metrics of the worker processes. */
export interface WorkerMetrics {
  /** Counts a worker that ended unexpectedly. */
  lost(): void;
  snapshot(): Promise<MetricsSnapshot>;
}

/** @param serving returns the number of workers that serve */
export function createWorkerMetrics(serving: () => number): WorkerMetrics {
  const registry = new Registry();
  const registers = [registry];
  new Gauge({
    name: 'dockerproxy_workers',
    help: 'Processes that serve.',
    registers,
    collect() {
      this.set(serving());
    },
  });
  const lost = new Counter({
    name: 'dockerproxy_workers_lost_total',
    help: 'Processes that have ended without being asked to, and were replaced.',
    registers,
  });
  return { lost: () => lost.inc(), snapshot: () => registry.getMetricsAsJSON() };
}

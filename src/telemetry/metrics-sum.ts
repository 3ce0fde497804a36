import { AggregatorRegistry } from 'prom-client';
import type { MetricsSnapshot } from './metrics.ts';

/** Sums up the metrics of processes that come and go, so that no counter ever goes back. */
export interface MetricsSum {
  /** Keeps what a process that has ended has counted. */
  retire(last: MetricsSnapshot): Promise<void>;
  /** The sum of those that ended and those that live, the first of which speaks for all where a sum says nothing. */
  text(living: readonly MetricsSnapshot[]): Promise<string>;
}

export function createMetricsSum(): MetricsSum {
  let retired: Promise<MetricsSnapshot> = Promise.resolve([]);
  return {
    async retire(last) {
      // Values of a moment, such as memory, ended with the process.
      const counted = last.filter(({ type }) => `${type}` === 'counter' || `${type}` === 'histogram');
      retired = retired.then((before) =>
        AggregatorRegistry.aggregate([[...before], counted]).getMetricsAsJSON(),
      );
      await retired;
    },
    async text(living) {
      const all = [...living, await retired];
      return AggregatorRegistry.aggregate(all.map((snapshot) => [...snapshot])).metrics();
    },
  };
}

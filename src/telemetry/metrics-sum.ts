import { AggregatorRegistry } from 'prom-client';
import type { MetricsSnapshot } from './metrics.ts';

/** Sums up the metrics of all workers, past and present, so that no counter decreases. */
export interface MetricsSum {
  /** Adds the final counts of a process that has ended. */
  retire(last: MetricsSnapshot): Promise<void>;
  /**
   * Returns the sum over ended and running processes. For metrics without a meaningful sum, the value of the first
   * running process counts.
   */
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

import { memoryOf, processTree, resetPeak } from './proc.ts';

/** The costs of a server with all its processes, from `startMeter` on. */
export interface ServerCost {
  cpuSeconds: number;
  peakBytes: number;
  /** The peak minus the resident bytes before the first request. */
  aboveIdleBytes: number;
}

/** Resident bytes of a process and its children. */
export function residentBytes(pid: number): number {
  return processTree(pid).reduce((sum, one) => sum + memoryOf(one.pid, 'VmRSS'), 0);
}

/** Starts to measure. Returns a function that returns the costs so far. */
export function startMeter(pid: number, idleBytes: number): () => ServerCost {
  for (const one of processTree(pid)) resetPeak(one.pid);
  const before = cpuSeconds(pid);
  return () => {
    const peakBytes = processTree(pid).reduce((sum, one) => sum + memoryOf(one.pid, 'VmHWM'), 0);
    return { cpuSeconds: cpuSeconds(pid) - before, peakBytes, aboveIdleBytes: peakBytes - idleBytes };
  };
}

function cpuSeconds(pid: number): number {
  return processTree(pid).reduce((sum, one) => sum + one.cpuSeconds, 0);
}

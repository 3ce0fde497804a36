import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { spawnUntil } from '../test/support/process.ts';
import { memoryOf, usageOf } from './proc.ts';

export interface CommandOptions {
  signal: AbortSignal;
  env?: NodeJS.ProcessEnv;
  /** An empty folder that the command writes to. The time of the first byte in it is measured. */
  outputFolder?: string;
  /** Exit statuses that count as success. */
  accepted?: number[];
}

/** The costs of a command, without those of its parent. */
export interface CommandCost {
  seconds: number;
  cpuSeconds: number;
  peakBytes: number;
  /** Milliseconds until the output folder had content. */
  firstByteMs: number | undefined;
  stdout: string;
}

/** Milliseconds between polls of the process, whose figures are lost when it ends. */
const samplingInterval = 20;

/** Runs a command to its end and measures it; a failure is an error with the output. */
export async function runMetered(
  command: string,
  args: string[],
  options: CommandOptions,
): Promise<CommandCost> {
  const { signal, env, outputFolder, accepted = [] } = options;
  signal.throwIfAborted();
  const begin = performance.now();
  const running = await spawnUntil(command, args, () => true, env ? { env } : {});
  const cost = { cpuSeconds: 0, peakBytes: 0 };
  let firstByteMs: number | undefined;
  const sample = () => {
    cost.cpuSeconds = usageOf(running.pid)?.cpuSeconds ?? cost.cpuSeconds;
    cost.peakBytes = Math.max(cost.peakBytes, memoryOf(running.pid, 'VmHWM'));
    if (outputFolder && hasBytes(outputFolder)) firstByteMs ??= performance.now() - begin;
  };
  const sampler = setInterval(sample, samplingInterval);
  const abort = () => void running.stop();
  signal.addEventListener('abort', abort, { once: true });
  try {
    const { code } = await running.exited;
    const seconds = (performance.now() - begin) / 1000;
    signal.throwIfAborted();
    if (code !== 0 && !accepted.includes(code ?? -1)) {
      throw new Error(`${command}: exit status ${code}\n${running.stderr()}`);
    }
    return { ...cost, seconds, firstByteMs, stdout: running.stdout() };
  } finally {
    clearInterval(sampler);
    signal.removeEventListener('abort', abort);
  }
}

function hasBytes(folder: string): boolean {
  // A temporary file can be renamed between the two calls.
  return readdirSync(folder).some((name) => {
    return (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0) > 0;
  });
}

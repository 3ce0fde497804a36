import { readFileSync } from 'node:fs';
import { processTree } from '../../bench/proc.ts';
import type { DockerProxy } from '../support/dockerproxy.ts';
import { waitFor } from '../support/wait-for.ts';

/** Returns the worker processes. */
export function workersOf({ pid }: Pick<DockerProxy, 'pid'>): number[] {
  return processTree(pid)
    .filter(
      ({ pid: one, parent }) =>
        parent === pid && /\b(?:main\.c?[jt]s|dockerproxy\.js)\b/.test(commandOf(one)),
    )
    .map((one) => one.pid);
}

/** Returns true if a process runs. A zombie does not. */
export function isRunning(pid: number): boolean {
  return commandOf(pid) !== '';
}

/** Waits until a number of workers were replaced since the start. */
export async function untilReplaced(proxy: DockerProxy, times = 1): Promise<void> {
  await waitFor(() => replacements(proxy) >= times, { what: 'another worker', timeout: 20_000 });
}

/** Ends a worker by a signal, and waits until another one serves in its place. */
export async function replace(proxy: DockerProxy, worker: number, signal: NodeJS.Signals): Promise<void> {
  const earlier = replacements(proxy);
  process.kill(worker, signal);
  await untilReplaced(proxy, earlier + 1);
}

function replacements(proxy: DockerProxy): number {
  return proxy.logs().filter(({ msg }) => msg === 'Another worker serves').length;
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

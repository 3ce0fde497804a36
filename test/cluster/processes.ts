import { readFileSync } from 'node:fs';
import { processTree } from '../../bench/proc.ts';
import type { DockerProxy } from '../support/dockerproxy.ts';
import { waitFor } from '../support/wait-for.ts';

/** Returns the worker processes. */
export function workersOf({ pid }: Pick<DockerProxy, 'pid'>): number[] {
  return processTree(pid)
    .filter(
      ({ pid: one, parent }) => parent === pid && /\b(?:main\.[jt]s|dockerproxy\.js)\b/.test(commandOf(one)),
    )
    .map((one) => one.pid);
}

/** Returns true if a process runs. A zombie does not. */
export function isRunning(pid: number): boolean {
  return commandOf(pid) !== '';
}

/** Waits until a number of workers were replaced since the start. */
export async function untilReplaced(proxy: DockerProxy, times = 1): Promise<void> {
  const replacements = () => proxy.logs().filter(({ msg }) => msg === 'Another worker serves');
  await waitFor(() => replacements().length >= times, { what: 'another worker', timeout: 20_000 });
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

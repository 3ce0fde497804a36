import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

/** The figures that Linux reports about a process. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
export interface ProcessUsage {
  pid: number;
  parent: number;
  /** User and system time, also of children that have ended. */
  cpuSeconds: number;
}

/** Linux counts in hundredths of a second for every program, whatever the kernel's own clock is. */
export const ticksPerSecond = 100;

/** Reads a line of /proc/PID/stat; the name in it may have blanks and parentheses of its own. */
export function parseStat(line: string): ProcessUsage {
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return {
    pid: Number.parseInt(line, 10),
    parent: Number(fields[1]),
    cpuSeconds: ticks / ticksPerSecond,
  };
}

/** Returns a process and its running descendants; empty after it has ended. */
export function processTree(pid: number): ProcessUsage[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => usageOf(Number(name)) ?? []);
  const tree = all.filter((one) => one.pid === pid);
  // The loop appends children to the array, so that it also visits theirs.
  for (const { pid: parent } of tree) tree.push(...all.filter((one) => one.parent === parent));
  return tree;
}

/** Undefined if the process has ended. */
export function usageOf(pid: number): ProcessUsage | undefined {
  const line = readProc(pid, 'stat');
  return line === undefined ? undefined : parseStat(line);
}

/** Bytes: resident now (`VmRSS`), or at most since the start or the last `resetPeak` (`VmHWM`). */
export function memoryOf(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const status = readProc(pid, 'status') ?? '';
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) * 1024;
}

/** https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html: 5 makes the peak begin again. */
export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

function readProc(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return undefined;
  }
}

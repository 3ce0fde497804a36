import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** The period of the CPU limit, in microseconds. */
const PERIOD = 100_000;

/**
 * The folder of control groups, and the unit of their CPU share. https://docs.kernel.org/admin-guide/cgroup-v2.html
 */
const HIERARCHIES = [
  {
    root: '/sys/fs/cgroup/cpu',
    limit: (group: string, quota: number) => {
      writeFileSync(join(group, 'cpu.cfs_period_us'), `${PERIOD}`);
      writeFileSync(join(group, 'cpu.cfs_quota_us'), `${quota}`);
    },
  },
  {
    root: '/sys/fs/cgroup',
    limit: (group: string, quota: number) => writeFileSync(join(group, 'cpu.max'), `${quota} ${PERIOD}`),
  },
];

/**
 * Limits each process to a share of a core by a control group. The processes can then be compared, while clients have
 * the rest of the machine.
 *
 * @param pids processes with all their threads
 * @param share the share of a core for each process
 * @throws Error if the kernel, or this user, has no such groups
 */
export function giveSmallCores(pids: readonly number[], share: number): AsyncDisposable {
  const hierarchy = HIERARCHIES.find(({ root }) => existsSync(join(root, 'cgroup.procs')));
  if (hierarchy === undefined) throw new Error('there are no groups of processes with a share of a core');
  const { root, limit } = hierarchy;
  const groups = pids.map((pid) => join(root, `dockerproxy-bench-${pid}`));
  for (const [at, group] of groups.entries()) {
    mkdirSync(group);
    limit(group, Math.round(share * PERIOD));
    writeFileSync(join(group, 'cgroup.procs'), `${pids[at]}`);
  }
  return {
    async [Symbol.asyncDispose]() {
      for (const group of groups) await removeOnceEmpty(group);
    },
  };
}

/** A group exists as long as one of its processes runs. */
async function removeOnceEmpty(group: string): Promise<void> {
  for (let left = 500; left > 0; left--) {
    try {
      return rmdirSync(group);
    } catch {
      await pause(10);
    }
  }
}

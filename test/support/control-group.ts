import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { waitFor } from './wait-for.ts';

/** A control group of the kernel with a memory limit. */
export interface ControlGroup extends AsyncDisposable {
  /** A command prefix that starts another program in the group. */
  readonly via: string[];
  /** Returns the bytes of used memory, including page cache. */
  used(): number;
  /** Returns the number of processes in the group that the kernel killed for lack of memory. */
  kills(): number;
}

/** Finds the folder for groups of this process, in version 1 or 2 of the kernel's interface. */
const PARENTS = [
  ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes', 'memory.usage_in_bytes', 'memory.oom_control'],
  ['/sys/fs/cgroup', 'memory.max', 'memory.current', 'memory.events'],
] as const;

/** Creates a group; undefined if the kernel or the permissions of this process prevent that. */
export async function createControlGroup(limit: number): Promise<ControlGroup | undefined> {
  for (const [parent, limitFile, usedFile, eventsFile] of PARENTS) {
    const folder = join(parent, `dockerproxy-${randomUUID()}`);
    try {
      await mkdir(folder);
      await writeFile(join(folder, limitFile), `${limit}`);
    } catch {
      await rmdir(folder).catch(() => {});
      continue;
    }
    const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
    return {
      via: ['sh', '-c', `echo $$ > ${folder}/cgroup.procs && exec "$@"`, 'sh'],
      used: () => Number(read(usedFile)),
      kills: () => Number(/^oom_kill (\d+)$/m.exec(read(eventsFile))?.[1] ?? 0),
      async [Symbol.asyncDispose]() {
        await waitFor(
          () =>
            rmdir(folder).then(
              () => true,
              () => false,
            ),
          { what: `${folder} to be empty` },
        );
      },
    };
  }
  return undefined;
}

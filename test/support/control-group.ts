import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { waitFor } from './process.ts';

/** A control group of the kernel with a limit of memory. */
export interface ControlGroup extends AsyncDisposable {
  /** A program and its arguments that start another one in the group. */
  readonly via: string[];
  /** Bytes of memory in use, page cache included. */
  used(): number;
  /** How often the kernel has killed a process of the group for want of memory. */
  kills(): number;
}

/** Where groups of this process are made, by version 1 or 2 of the kernel's interface. */
const PARENTS = [
  ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes', 'memory.usage_in_bytes', 'memory.oom_control'],
  ['/sys/fs/cgroup', 'memory.max', 'memory.current', 'memory.events'],
] as const;

/** Makes a group; undefined where the kernel or the permissions of this process do not allow that. */
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

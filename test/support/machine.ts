import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDebian } from './debian.ts';
import {
  type RunningProcess,
  type RunOptions,
  type RunResult,
  run,
  runOrThrow,
  spawnUntil,
} from './process.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** A booted machine that shares only the network with this one, and discards its files at the end. */
export interface Machine extends AsyncDisposable {
  /** Runs a command in it, as root. */
  run(command: string, args?: string[], options?: RunOptions): Promise<RunResult>;
  /** Runs lines of sh in it; throws if they fail. */
  sh(script: string, options?: RunOptions): Promise<string>;
  /** Writes a file in it, with the folders above. */
  write(path: string, text: string): Promise<void>;
  /** Restarts the machine, and keeps its disk. */
  restart(): Promise<void>;
  /** The command line that runs another one in it. */
  inside(command: string, args: string[]): [string, string[]];
}

/**
 * Boots Debian with its own systemd, in the network of this process.
 *
 * @param shared folders of this machine, by where that one sees them
 * @param folder the root file system; by default a Debian from debootstrap
 * @see https://www.freedesktop.org/software/systemd/man/latest/systemd-nspawn.html
 */
export async function startMachine(
  shared: Readonly<Record<string, string>>,
  folder?: string,
): Promise<Machine> {
  await using stack = new AsyncDisposableStack();
  const root = stack.use(await overlay(folder ?? (await makeDebian())));
  const flags = ['--register=no', '--keep-unit', '--console=read-only'];
  const binds = Object.entries(shared).map(([seen, folder]) => `--bind-ro=${folder}:${seen}`);
  let init = 0;
  const isUp = async ({ pid }: { pid: number }): Promise<boolean> => {
    init = await childNamed(pid, 'systemd');
    if (init === 0) return false;
    const { stdout } = await run(...enter(init, 'systemctl', ['is-system-running']));
    return stdout.trim() === 'running';
  };
  const boot = (): Promise<RunningProcess> =>
    spawnUntil('systemd-nspawn', [...flags, ...binds, '--boot', '--directory', root.path], isUp, {
      timeout: 60_000,
    });
  let running = await boot();
  const turnOff = async (): Promise<void> => {
    // Shuts it down as by its power button.
    await running.stop('SIGTERM', 30_000);
    await removeGroups();
  };
  stack.defer(turnOff);
  const held = stack.move();
  const inside: Machine['inside'] = (command, args) => enter(init, command, args);
  return {
    inside,
    run: (command, args = [], options = {}) => run(...inside(command, args), options),
    async sh(script, options = {}) {
      return (await runOrThrow(...inside('sh', ['-euc', script]), options)).stdout;
    },
    async write(path, text) {
      const script = 'mkdir -p "$(dirname "$1")" && cat > "$1"';
      await runOrThrow(...inside('sh', ['-euc', script, 'sh', path]), { input: text });
    },
    async restart() {
      await turnOff();
      running = await boot();
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** A folder with what is in another one, to be written to in memory. */
async function overlay(lower: string): Promise<{ readonly path: string } & AsyncDisposable> {
  const folder = await temporaryFolder();
  const [written, path] = [join(folder.path, 'written'), join(folder.path, 'root')];
  const [upper, work] = [join(written, 'upper'), join(written, 'work')];
  await mkdir(written);
  await runOrThrow('mount', ['-t', 'tmpfs', 'none', written]);
  for (const made of [upper, work, path]) await mkdir(made);
  const folders = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  await runOrThrow('mount', ['-t', 'overlay', '-o', folders, 'none', path]);
  return { path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

/** Replaces the environment of this process, which a login on the machine would not have. */
const ENVIRONMENT = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin', 'HOME=/root', 'LANG=C.UTF-8'];

function enter(pid: number, command: string, args: string[]): [string, string[]] {
  return [
    'nsenter',
    ['--all', '--target', `${pid}`, 'env', '--ignore-environment', ...ENVIRONMENT, command, ...args],
  ];
}

/** Removes the unused control groups that the machine made below that of this process. */
async function removeGroups(): Promise<void> {
  const [, own = '/'] =
    /^(?:\d+:name=systemd|0:):(.*)$/m.exec(await readFile('/proc/self/cgroup', 'utf8')) ?? [];
  const mounts = ['', 'systemd', 'unified'].map((hierarchy) => join('/sys/fs/cgroup', hierarchy, own));
  const groups = mounts.flatMap((mount) => [join(mount, 'payload'), join(mount, 'supervisor')]);
  await run('find', [...groups, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', ';']);
}

/** Returns the pid of the child on this machine; 0 if it has not started. */
async function childNamed(parent: number, name: string): Promise<number> {
  const children = await readFile(`/proc/${parent}/task/${parent}/children`, 'utf8').catch(() => '');
  for (const pid of children.split(' ').filter(Boolean)) {
    const found = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
    if (found.trim() === name) return Number(pid);
  }
  return 0;
}

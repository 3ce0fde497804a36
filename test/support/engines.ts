import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { join } from 'node:path';
import { findCommand, type RunningProcess, type RunResult, run, spawnUntil } from './process.ts';
import { type TemporaryFolder, temporaryFolder } from './temporary-folder.ts';

export interface Dockerd extends AsyncDisposable {
  /** `unix://…` */
  dockerHost: string;
  socket: string;
  /** The ID of the current process. */
  readonly pid: number;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts it again, at the same addresses and with its images. */
  restart(): Promise<void>;
  /** Runs the docker client against this engine. */
  docker(...args: string[]): Promise<RunResult>;
  /** The containerd that this dockerd started. */
  containerdAddress: string;
  /** Runs ctr against it, in the namespace `test` unless `-n` says otherwise. */
  ctr(...args: string[]): Promise<RunResult>;
  /** The variables by which `docker` and `ctr` find this engine. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs a shell's command in a folder, whose `docker` and `ctr` are these. */
  sh(command: string, folder: string): Promise<RunResult>;
}

export interface Podman extends AsyncDisposable {
  /** Serves Docker's API by `podman system service`, on a socket that is returned as `unix://…`. */
  serve(): Promise<{ dockerHost: string } & AsyncDisposable>;
  podman(...args: string[]): Promise<RunResult>;
  /** The variables by which `podman` finds its folders and settings. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs a shell's command in a folder, whose `podman` is this one. */
  sh(command: string, folder: string): Promise<RunResult>;
}

export interface EngineOptions {
  /** Registries (`host:port`) to be spoken to without TLS; loopback ones are so anyway for dockerd. */
  insecureRegistries?: string[];
}

/**
 * The command that runs an engine in its own network, so that its bridges and firewall rules affect no other program.
 */
const OWN_NETWORK = [
  'unshare',
  '--net',
  'sh',
  '-c',
  'ip link set lo up && exec "$@"',
  'sh',
  'dockerd',
] as const;

/** A Docker engine of its own: unless `bridged`, no bridge, no firewall rules, all state in a temporary folder. Needs root. */
export async function startDockerd(
  options: EngineOptions & { args?: string[]; env?: NodeJS.ProcessEnv; bridged?: true } = {},
): Promise<Dockerd> {
  const folder = await temporaryFolder();
  const inside = (name: string) => join(folder.path, name);
  const socket = inside('docker.sock');
  const dockerHost = `unix://${socket}`;
  // An empty client configuration: no credentials and no context of the person who runs the tests.
  await mkdir(inside('client'));
  // The default configuration file may hold settings that clash with the flags.
  await writeFile(inside('daemon.json'), '{}');
  const env = { ...process.env, DOCKER_CONFIG: inside('client'), DOCKER_HOST: '', DOCKER_CONTEXT: '' };
  const docker = (...args: string[]) =>
    run('docker', ['--host', dockerHost, ...args], { env, timeout: 120_000 });
  const flags = [
    `--config-file=${inside('daemon.json')}`,
    `--data-root=${inside('data')}`,
    `--exec-root=${inside('exec')}`,
    `--pidfile=${inside('docker.pid')}`,
    `--host=${dockerHost}`,
    ...(options.bridged ? [] : ['--bridge=none', '--iptables=false', '--ip6tables=false']),
    ...(options.insecureRegistries ?? []).map((host) => `--insecure-registry=${host}`),
    ...(options.args ?? []),
  ];
  const [command, ...prefix] = options.bridged ? OWN_NETWORK : (['dockerd'] as const);
  const launch = (): Promise<RunningProcess> =>
    spawnUntil(command, [...prefix, ...flags], () => answers(socket), {
      env: { ...process.env, ...options.env },
      timeout: 60_000,
    });
  let running = await launch().catch(async (error) => {
    await removeEngine(folder);
    throw error;
  });
  const containerdAddress = inside('exec/containerd/containerd.sock');
  const own = {
    DOCKER_CONFIG: inside('client'),
    DOCKER_HOST: dockerHost,
    DOCKER_CONTEXT: '',
    CONTAINERD_ADDRESS: containerdAddress,
    CONTAINERD_NAMESPACE: 'test',
  };
  return {
    dockerHost,
    socket,
    get pid() {
      return running.pid;
    },
    kill: async () => {
      await killEngine(folder);
      await running.exited;
    },
    restart: async () => {
      await killEngine(folder);
      await running.exited;
      // Without a process that reaps orphans, the killed containerd stays a zombie, and dockerd would wait for it.
      await rm(inside('exec/containerd/containerd.pid'), { force: true });
      running = await launch();
    },
    docker,
    containerdAddress,
    ctr: (...args) =>
      run('ctr', ['--address', containerdAddress, ...args], {
        env: { ...process.env, CONTAINERD_NAMESPACE: 'test' },
        timeout: 120_000,
      }),
    env: own,
    sh: (command, cwd) =>
      run('sh', ['-c', command], { cwd, env: { ...process.env, ...own }, timeout: 120_000 }),
    [Symbol.asyncDispose]: async () => {
      // Else dockerd gives each container ten seconds to end.
      const containers = (await docker('ps', '--quiet')).stdout.split('\n').filter(Boolean);
      if (containers.length > 0) await docker('kill', ...containers);
      await running.stop('SIGTERM', 30_000);
      await removeEngine(folder);
    },
  };
}

/** podman with storage, configuration and locks of its own; it has no daemon. Needs root. */
export async function startPodman(options: EngineOptions = {}): Promise<Podman> {
  const folder = await temporaryFolder();
  const inside = (name: string) => join(folder.path, name);
  const quoted = (value: string) => JSON.stringify(value);
  const insecure = (options.insecureRegistries ?? []).map(
    (host) => `[[registry]]\nlocation = ${quoted(host)}\ninsecure = true\n`,
  );
  await writeFile(inside('registries.conf'), insecure.join(''));
  await writeFile(inside('policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
  // crun refuses hosts that mix the two versions of cgroups; runc takes them.
  const runtime = findCommand('runc') ? 'runc' : 'crun';
  // The default lock lies in shared memory under one name for the whole machine.
  const engine = { lock_type: 'file', cgroup_manager: 'cgroupfs', events_logger: 'none', runtime };
  // conmon's clean-up after a container names the storage only, and derives this place from it: they must agree.
  const folders = {
    tmp_dir: inside('tmp'),
    static_dir: inside('storage/libpod'),
    volume_path: inside('storage/volumes'),
  };
  const settings = Object.entries({ ...engine, ...folders }).map(
    ([name, value]) => `${name} = ${quoted(value)}`,
  );
  // podman wants to raise the limits to its own default, which a root without CAP_SYS_RESOURCE may not.
  const limits = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n';
  await writeFile(inside('containers.conf'), `${limits}[engine]\n${settings.join('\n')}\n`);
  const storage = { driver: 'vfs', graphroot: inside('storage'), runroot: inside('run') };
  const stored = Object.entries(storage).map(([name, value]) => `${name} = ${quoted(value)}`);
  await writeFile(inside('storage.conf'), `[storage]\n${stored.join('\n')}\n`);
  await writeFile(inside('auth.json'), '{}');
  const own = {
    CONTAINERS_CONF: inside('containers.conf'),
    CONTAINERS_STORAGE_CONF: inside('storage.conf'),
    CONTAINERS_REGISTRIES_CONF: inside('registries.conf'),
    REGISTRY_AUTH_FILE: inside('auth.json'),
    TMPDIR: folder.path,
  };
  const env = { ...process.env, ...own };
  return {
    env: own,
    serve: async () => {
      const socket = inside('podman.sock');
      const service = ['system', 'service', '--time=0', `unix://${socket}`];
      const running = await spawnUntil('podman', service, () => answers(socket), { env });
      return {
        dockerHost: `unix://${socket}`,
        [Symbol.asyncDispose]: () => running.stop('SIGTERM'),
      };
    },
    podman: (...args) => run('podman', args, { env, timeout: 120_000 }),
    sh: (command, cwd) => run('sh', ['-c', command], { cwd, env, timeout: 120_000 }),
    [Symbol.asyncDispose]: async () => {
      await run('podman', ['rm', '--all', '--force', '--time', '0'], { env });
      await removeEngine(folder);
    },
  };
}

/** Returns whether an engine responds at its socket. A docker client for each poll would take most of the CPU time. */
function answers(socketPath: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  get({ socketPath, path: '/_ping' }, (response) => resolve(response.resume().statusCode === 200)).once(
    'error',
    () => resolve(false),
  );
  return promise;
}

/** Ends what outlived its engine (shims, a containerd whose dockerd was killed) and removes the folder. */
async function removeEngine(folder: TemporaryFolder): Promise<void> {
  await killEngine(folder);
  await folder[Symbol.asyncDispose]();
}

/** The name of our temporary folder in a command line is what proves that a process is ours. */
async function killEngine(folder: TemporaryFolder): Promise<void> {
  for (const pid of await processesNaming(folder.path)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}

async function processesNaming(path: string): Promise<number[]> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 0 && pid !== process.pid);
  const lines = await Promise.all(
    pids.map(async (pid) => ({ pid, line: await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '') })),
  );
  return lines.filter(({ line }) => line.includes(`${path}/`)).map(({ pid }) => pid);
}

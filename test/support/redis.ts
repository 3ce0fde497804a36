import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Certificates } from './certificates.ts';
import { type RunningProcess, run, runOrThrow, spawnUntil } from './process.ts';
import { reservePort } from './reserve-port.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { waitFor } from './wait-for.ts';

export interface RedisServer extends AsyncDisposable {
  url: string;
  port: number;
  pid: number;
  /** Returns the output of `redis-cli` for a command. */
  cli(...command: string[]): Promise<string>;
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Restarts it with the same port and the data on its disk. */
  start(): Promise<void>;
}

export interface RedisServerOptions {
  /** Further arguments. */
  args?: string[];
  password?: string;
  /** If set, accepts only TLS, from clients with a certificate of the same authority. */
  tls?: Certificates;
}

/** Options of `redis-server` and `redis-cli` for TLS on this port only. */
function tlsArguments({ server, client }: Certificates, port: number): { server: string[]; cli: string[] } {
  const files = (folder: string): Record<'cert' | 'key' | 'ca', string> => ({
    ...{ cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem'), ca: join(folder, 'ca.pem') },
  });
  const [own, asked] = [files(server), files(client)];
  return {
    server: [
      ...['--port', '0', '--tls-port', `${port}`, '--tls-replication', 'yes', '--tls-cluster', 'yes'],
      ...['--tls-cert-file', own.cert, '--tls-key-file', own.key, '--tls-ca-cert-file', own.ca],
      ...['--tls-client-cert-file', asked.cert, '--tls-client-key-file', asked.key],
    ],
    cli: ['--tls', '--cacert', asked.ca, '--cert', asked.cert, '--key', asked.key],
  };
}

/** Starts Debian's redis-server, which saves its data when it stops. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const { args = [], password, tls } = options;
  const folder = await temporaryFolder();
  const port = await reservePort();
  const withPassword = password === undefined ? [] : ['--requirepass', password, '--masterauth', password];
  const secure = tls && tlsArguments(tls, port);
  const at = ['-p', `${port}`, ...(secure?.cli ?? [])];
  const all = [
    ...(secure?.server ?? ['--port', `${port}`]),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder.path,
    '--save',
    '3600 1',
  ];
  const cli = async (...command: string[]): Promise<string> => {
    const login = password === undefined ? [] : ['--no-auth-warning', '-a', password];
    return (await runOrThrow('redis-cli', [...at, ...login, ...command])).stdout.trim();
  };
  const launch = (): Promise<RunningProcess> =>
    spawnUntil('redis-server', [...all, ...withPassword, ...args], async () => {
      const { stdout } = await run('redis-cli', [...at, 'ping']);
      return /^(?:PONG|NOAUTH)/.test(stdout);
    });
  let running = await launch().catch(async (error) => {
    await folder[Symbol.asyncDispose]();
    throw error;
  });
  return {
    url: `redis${tls === undefined ? '' : 's'}://${password === undefined ? '' : `:${password}@`}127.0.0.1:${port}`,
    port,
    get pid() {
      return running.pid;
    },
    cli,
    stop: (signal) => running.stop(signal),
    async start() {
      running = await launch();
    },
    async [Symbol.asyncDispose]() {
      await running.stop('SIGKILL');
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Starts three servers as one Cluster, each with these options. */
export async function startRedisCluster({
  args: further = [],
  tls,
}: RedisServerOptions = {}): Promise<AsyncDisposable & { url: string; servers: RedisServer[] }> {
  await using stack = new AsyncDisposableStack();
  const servers: RedisServer[] = [];
  for (let at = 0; at < 3; at += 1) {
    // The port between nodes is 10,000 above, where that is one.
    const busPort = `${await reservePort()}`;
    const args = ['--cluster-enabled', 'yes', '--cluster-port', busPort, '--cluster-node-timeout', '2000'];
    servers.push(stack.use(await startRedis({ args: [...args, ...further], ...(tls && { tls }) })));
  }
  const nodes = servers.map(({ port }) => `127.0.0.1:${port}`);
  const secure = tls ? tlsArguments(tls, 0).cli : [];
  await runOrThrow('redis-cli', [...secure, '--cluster', 'create', ...nodes, '--cluster-yes']);
  for (const { cli } of servers) {
    await waitFor(async () => (await cli('cluster', 'info')).includes('cluster_state:ok'), {
      what: 'the Cluster',
    });
  }
  const held = stack.move();
  return {
    url: `redis${tls ? 's' : ''}-cluster://${nodes.join(',')}`,
    servers,
    [Symbol.asyncDispose]: () => held[Symbol.asyncDispose](),
  };
}

export interface SentinelOptions extends RedisServerOptions {
  /** The password of the Sentinel; none by default. */
  sentinelPassword?: string;
}

/** Starts a master, its replica, and a Sentinel that promotes the replica if the master fails. */
export async function startRedisSentinel({
  sentinelPassword,
  ...options
}: SentinelOptions = {}): Promise<
  AsyncDisposable & { url: string; master: RedisServer; replica: RedisServer }
> {
  await using stack = new AsyncDisposableStack();
  const master = stack.use(await startRedis(options));
  const replica = stack.use(
    await startRedis({ ...options, args: ['--replicaof', '127.0.0.1', `${master.port}`] }),
  );
  await waitFor(async () => (await replica.cli('info', 'replication')).includes('master_link_status:up'), {
    what: 'the replica to follow',
    timeout: 20_000,
  });
  const folder = stack.use(await temporaryFolder());
  const file = join(folder.path, 'sentinel.conf');
  const port = await reservePort();
  const secure = options.tls && tlsArguments(options.tls, port);
  const login = sentinelPassword === undefined ? [] : ['--no-auth-warning', '-a', sentinelPassword];
  const cli = ['-p', `${port}`, ...(secure?.cli ?? []), ...login];
  await writeFile(
    file,
    [
      ...(secure?.server ?? ['--port', `${port}`])
        .join(' ')
        .split(' --')
        .map((line) => line.replace(/^--/, '')),
      'bind 127.0.0.1',
      `sentinel monitor main 127.0.0.1 ${master.port} 1`,
      'sentinel down-after-milliseconds main 1000',
      'sentinel failover-timeout main 5000',
      ...(options.password === undefined ? [] : [`sentinel auth-pass main ${options.password}`]),
      ...(sentinelPassword === undefined ? [] : [`requirepass ${sentinelPassword}`]),
    ].join('\n'),
  );
  stack.use(
    await spawnUntil('redis-server', [file, '--sentinel'], async () => {
      const { stdout } = await run('redis-cli', [...cli, 'sentinel', 'replicas', 'main']);
      return stdout.includes(`${replica.port}`);
    }),
  );
  const held = stack.move();
  return {
    url: `redis${secure ? 's' : ''}-sentinel://127.0.0.1:${port}/0#main`,
    master,
    replica,
    [Symbol.asyncDispose]: () => held[Symbol.asyncDispose](),
  };
}

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type RunningProcess, run, runOrThrow, spawnUntil, temporaryFolder, waitFor } from './process.ts';
import { reservePort } from './reserve-port.ts';

export interface RedisServer extends AsyncDisposable {
  url: string;
  port: number;
  pid: number;
  /** What `redis-cli` prints for a command. */
  cli(...command: string[]): Promise<string>;
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again with the same port, and what it had on the disk. */
  start(): Promise<void>;
}

export interface RedisServerOptions {
  /** Further arguments. */
  args?: string[];
  password?: string;
}

/** Debian's redis-server, which writes what it knows down when it is asked to end. */
export async function startRedis({ args = [], password }: RedisServerOptions = {}): Promise<RedisServer> {
  const folder = await temporaryFolder();
  const port = await reservePort();
  const withPassword = password === undefined ? [] : ['--requirepass', password];
  const all = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder.path, '--save', '3600 1'];
  const cli = async (...command: string[]): Promise<string> => {
    const login = password === undefined ? [] : ['--no-auth-warning', '-a', password];
    return (await runOrThrow('redis-cli', ['-p', `${port}`, ...login, ...command])).stdout.trim();
  };
  const launch = (): Promise<RunningProcess> =>
    spawnUntil('redis-server', [...all, ...withPassword, ...args], async () => {
      const { stdout } = await run('redis-cli', ['-p', `${port}`, 'ping']);
      return /^(?:PONG|NOAUTH)/.test(stdout);
    });
  let running = await launch().catch(async (error) => {
    await folder[Symbol.asyncDispose]();
    throw error;
  });
  return {
    url: `redis://${password === undefined ? '' : `:${password}@`}127.0.0.1:${port}`,
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

/** Three servers that are one Cluster. */
export async function startRedisCluster(): Promise<
  AsyncDisposable & { url: string; servers: RedisServer[] }
> {
  await using stack = new AsyncDisposableStack();
  const servers: RedisServer[] = [];
  for (let at = 0; at < 3; at += 1) {
    // The port between nodes is 10,000 above, where that is one.
    const busPort = `${await reservePort()}`;
    const args = ['--cluster-enabled', 'yes', '--cluster-port', busPort, '--cluster-node-timeout', '2000'];
    servers.push(stack.use(await startRedis({ args })));
  }
  const nodes = servers.map(({ port }) => `127.0.0.1:${port}`);
  await runOrThrow('redis-cli', ['--cluster', 'create', ...nodes, '--cluster-yes']);
  for (const { cli } of servers) {
    await waitFor(async () => (await cli('cluster', 'info')).includes('cluster_state:ok'), {
      what: 'the Cluster',
    });
  }
  const held = stack.move();
  return {
    url: `redis-cluster://${nodes.join(',')}`,
    servers,
    [Symbol.asyncDispose]: () => held[Symbol.asyncDispose](),
  };
}

/** A master, a replica of it, and a Sentinel that makes the replica the master where that one is gone. */
export async function startRedisSentinel(): Promise<
  AsyncDisposable & { url: string; master: RedisServer; replica: RedisServer }
> {
  await using stack = new AsyncDisposableStack();
  const master = stack.use(await startRedis());
  const replica = stack.use(await startRedis({ args: ['--replicaof', '127.0.0.1', `${master.port}`] }));
  await waitFor(async () => (await replica.cli('info', 'replication')).includes('master_link_status:up'), {
    what: 'the replica to follow',
    timeout: 20_000,
  });
  const folder = stack.use(await temporaryFolder());
  const file = join(folder.path, 'sentinel.conf');
  const port = await reservePort();
  await writeFile(
    file,
    [
      `port ${port}`,
      'bind 127.0.0.1',
      `sentinel monitor main 127.0.0.1 ${master.port} 1`,
      'sentinel down-after-milliseconds main 1000',
      'sentinel failover-timeout main 5000',
    ].join('\n'),
  );
  stack.use(
    await spawnUntil('redis-server', [file, '--sentinel'], async () => {
      const { stdout } = await run('redis-cli', ['-p', `${port}`, 'sentinel', 'replicas', 'main']);
      return stdout.includes(`${replica.port}`);
    }),
  );
  const held = stack.move();
  return {
    url: `redis-sentinel://127.0.0.1:${port}/0#main`,
    master,
    replica,
    [Symbol.asyncDispose]: () => held[Symbol.asyncDispose](),
  };
}

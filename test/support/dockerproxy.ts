import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type RunningProcess, spawnUntil } from './process.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** `npm test` compiles the program once, because it then starts with two thirds of the CPU time. */
export const entryPoint =
  process.env.COMPILED_PROGRAM ?? join(import.meta.dirname, '..', '..', 'src', 'main.ts');
/** The same option and variable as in `npm start`, the unit, and the image. */
const nodeOptions = ['--max-semi-space-size=8'];
const ALLOCATOR = { MALLOC_ARENA_MAX: '2' };

/** Every test is the same client; those about limits set their own. */
const NO_LIMITS = {
  DOCKERPROXY_RATE_LIMIT: '0',
  DOCKERPROXY_PAGE_RATE_LIMIT: '0',
  DOCKERPROXY_DOWNLOADS_PER_IP: '0',
  DOCKERPROXY_CONNECTIONS_PER_DOWNLOAD: '0',
  DOCKERPROXY_MAX_DOWNLOADS: '0',
  DOCKERPROXY_DAILY_BYTES: '0',
  // No limit, because other work on the machine can delay the event loop.
  DOCKERPROXY_MAX_EVENT_LOOP_DELAY: '0s',
};

/** The environment for tests with the default limits. */
export const DEFAULT_LIMITS: NodeJS.ProcessEnv = Object.fromEntries(
  Object.keys(NO_LIMITS).map((name) => [name, undefined]),
);

export interface DockerProxyOptions {
  /** Added to the settings that a test needs; DOCKERPROXY_* variables of the outer environment are ignored. */
  env?: NodeJS.ProcessEnv;
  /** The arguments after `src/main.ts`. */
  args?: string[];
  /** The path of the program; by default, src/main.ts or its compiled form. */
  program?: string;
  /** A program and its arguments that start it elsewhere, as nsenter does. */
  via?: string[];
  /** Milliseconds to wait for the server to listen; 60,000 by default. */
  timeout?: number;
}

/** One record of the JSON log. */
export interface LogRecord {
  level: number;
  msg: string;
  [field: string]: unknown;
}

export interface DockerProxy extends AsyncDisposable {
  url: string;
  pid: number;
  /** The log so far. */
  logs(): LogRecord[];
  /** Returns the process's output to stderr so far. */
  stderr(): string;
  /** Resident memory in bytes (Linux). */
  memory(): number;
  /** Sends SIGTERM and returns the exit status; null if a signal ended it. */
  stop(): Promise<number | null>;
  exited: RunningProcess['exited'];
}

/** The real server as a process of its own, on a port that the kernel chose. */
export async function startDockerProxy(options: DockerProxyOptions = {}): Promise<DockerProxy> {
  const folder = await temporaryFolder();
  const dockerConfig = join(folder.path, 'docker');
  await mkdir(dockerConfig);
  const env = {
    ...outerEnvironment(),
    ...ALLOCATOR,
    DOCKERPROXY_HOST: '127.0.0.1',
    DOCKERPROXY_PORT: '0',
    DOCKERPROXY_HTTPS_PORT: '0',
    DOCKERPROXY_LOG_LEVEL: 'debug',
    DOCKER_CONFIG: dockerConfig,
    DOCKERPROXY_CACHE_DIR: join(folder.path, 'cache'),
    DOCKERPROXY_STATE_DIR: join(folder.path, 'state'),
    ...NO_LIMITS,
    ...options.env,
  };
  const { args = [], via = [], timeout = 60_000, program: path = entryPoint } = options;
  const [program = '', ...words] = [...via, process.execPath, ...nodeOptions, path, ...args];
  const isListening = (running: RunningProcess) => listeningUrl(parseLog(running.stdout())) !== undefined;
  const running = await spawnUntil(program, words, isListening, {
    env,
    timeout,
  }).catch(async (error) => {
    await folder[Symbol.asyncDispose]();
    throw error;
  });
  const stop = async () => {
    // Longer than the grace that the server gives to downloads under way.
    await running.stop('SIGTERM', 40_000);
    return (await running.exited).code;
  };
  const log = createLog(running.stdout);
  return {
    url: listeningUrl(log()) ?? '',
    pid: running.pid,
    logs: () => [...log()],
    stderr: running.stderr,
    memory: () => residentBytes(running.pid),
    stop,
    exited: running.exited,
    [Symbol.asyncDispose]: async () => {
      // A failed test may leave a download open, which would hold a graceful end up.
      await running.stop('SIGTERM', 3_000);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Also without npm's own settings, so that the server runs as it would outside of `npm test`, and without proxies. */
function outerEnvironment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(
    ([name]) => !/^(?:DOCKERPROXY_|npm_|\w+_proxy$)/i.test(name),
  );
  return Object.fromEntries(entries);
}

function listeningUrl(log: readonly LogRecord[]): string | undefined {
  return log.map(({ msg }) => / is listening on (http\S+)$/.exec(msg)?.[1]).find((url) => url !== undefined);
}

/** Parses each line once, because tests read the log at every poll. */
function createLog(text: () => string): () => readonly LogRecord[] {
  const records: LogRecord[] = [];
  let parsed = 0;
  return () => {
    const end = text().lastIndexOf('\n') + 1;
    records.push(...parseLog(text().slice(parsed, end)));
    parsed = end;
    return records;
  };
}

/** The parser skips an incomplete last line and lines other than records. */
function parseLog(text: string): LogRecord[] {
  return text.split('\n').flatMap((line) => {
    try {
      const value: unknown = JSON.parse(line);
      return isRecord(value) ? [value] : [];
    } catch {
      return [];
    }
  });
}

function isRecord(value: unknown): value is LogRecord {
  return typeof value === 'object' && value !== null && 'msg' in value && typeof value.msg === 'string';
}

/** https://man7.org/linux/man-pages/man5/proc_pid_status.5.html: VmRSS is in units of 1024 bytes. */
function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? Number.NaN) * 1024;
}

import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { waitFor } from './wait-for.ts';

export interface RunOptions {
  input?: string | Uint8Array;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** Milliseconds after which the process is killed and the call rejects; 60,000 by default. */
  timeout?: number;
  signal?: AbortSignal;
}

export interface RunResult {
  /** The exit status, or null if a signal ended the process. */
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunningProcess extends AsyncDisposable {
  pid: number;
  /** Returns the process's output to stdout so far. */
  stdout(): string;
  stderr(): string;
  /** Settles when the process has ended and its output is complete. */
  exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Sends the signal (SIGTERM by default), waits for the end, and kills after `patience` milliseconds. */
  stop(signal?: NodeJS.Signals, patience?: number): Promise<void>;
}

/** Runs a command to its end; rejects only if it cannot start, is aborted, or takes too long. */
export async function run(command: string, args: string[], options: RunOptions = {}): Promise<RunResult> {
  const timeout = options.timeout ?? 60_000;
  const running = start(command, args, options);
  const expiry = AbortSignal.timeout(timeout);
  const limit = options.signal ? AbortSignal.any([options.signal, expiry]) : expiry;
  const kill = () => running.child.kill('SIGKILL');
  limit.addEventListener('abort', kill, { once: true });
  if (limit.aborted) kill();
  running.child.stdin?.end(options.input ?? '');
  try {
    const { code } = await running.exited;
    options.signal?.throwIfAborted();
    if (limit.aborted) throw new Error(`${command} ${args.join(' ')}: not done after ${timeout} ms`);
    return { code, stdout: running.stdout(), stderr: running.stderr() };
  } finally {
    limit.removeEventListener('abort', kill);
  }
}

/** Like `run`, but any exit status other than 0 is an error that carries the output. */
export async function runOrThrow(
  command: string,
  args: string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const result = await run(command, args, options);
  if (result.code === 0) return result;
  throw new Error(
    `${command} ${args.join(' ')}: exit status ${result.code}\n${result.stderr}${result.stdout}`,
  );
}

/** Starts a process and resolves once `ready` holds; an end before that is an error with the output. */
export async function spawnUntil(
  command: string,
  args: string[],
  ready: (running: RunningProcess) => boolean | Promise<boolean>,
  options: RunOptions = {},
): Promise<RunningProcess> {
  const running = start(command, args, options);
  running.child.stdin?.end(options.input ?? '');
  let ended = false;
  const output = () => `${running.stderr()}${running.stdout()}`;
  // A process that cannot even be started rejects `exited`; the wait below reports either kind of end.
  const end = running.exited.then(
    ({ code, signal }) => `it ended with ${signal ?? code}`,
    (error: Error) => error.message,
  );
  const early = end.then((reason) => {
    ended = true;
    throw new Error(`${command} did not become ready: ${reason}\n${output()}`);
  });
  early.catch(() => {});
  const becameReady = waitFor(async () => ended || (await ready(running)), {
    timeout: options.timeout ?? 60_000,
    what: `${command} to become ready`,
  });
  try {
    await Promise.race([early, becameReady]);
    return running;
  } catch (error) {
    if (!ended) await running.stop('SIGTERM');
    throw ended ? error : new Error(`${(error as Error).message}\n${output()}`);
  }
}

/** The path of a command, also in an sbin folder, which the PATH of a plain user lacks. */
export function findCommand(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function start(
  command: string,
  args: string[],
  options: RunOptions,
): RunningProcess & { child: ChildProcess } {
  const [file, ...rest] = boundToUs(findCommand(command) ?? command, args);
  const child = spawn(file, rest, {
    cwd: options.cwd,
    env: options.env ?? process.env,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  // A process that ends without reading its input is checked by its exit status, not by EPIPE here.
  child.stdin?.on('error', () => {});
  const exited: RunningProcess['exited'] = new Promise((resolve, reject) => {
    child.on('error', reject).once('close', (code, signal) => resolve({ code, signal }));
  });
  exited.catch(() => {});
  const stop = async (signal: NodeJS.Signals = 'SIGTERM', patience = 15_000) => {
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), patience);
    await exited.catch(() => {});
    clearTimeout(timer);
  };
  return { child, pid: child.pid ?? -1, stdout, stderr, exited, stop, [Symbol.asyncDispose]: () => stop() };
}

/**
 * Ties a process to this one, so that a killed test run leaves no daemon behind. setpriv executes the command in its
 * own place, with the same pid, and the kernel ends it with its parent.
 * https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
 */
function boundToUs(command: string, args: string[]): [string, ...string[]] {
  const setpriv = process.platform === 'linux' ? findCommand('setpriv') : undefined;
  return setpriv ? [setpriv, '--pdeathsig', 'TERM', '--', command, ...args] : [command, ...args];
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  let text = '';
  stream?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  return () => text;
}

import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import type { Peer, ToPrimary, ToWorker } from './messages.ts';

/** Returns the primary of this worker; undefined in any other process. */
export function primaryOf(): Peer<ToWorker, ToPrimary> | undefined {
  const { worker } = cluster;
  if (worker === undefined || !cluster.isWorker) return undefined;
  return {
    ...peerOf<ToWorker, ToPrimary>(worker),
    onGone(gone) {
      worker.on('disconnect', () => {
        // Without this listener, Node.js ends the process immediately, and its downloads with it.
        worker.exitedAfterDisconnect = true;
        gone();
      });
    },
  };
}

/** A worker, from the perspective of the primary. */
export interface WorkerProcess extends Pick<Peer<ToPrimary, ToWorker>, 'send' | 'onMessage'> {
  readonly pid: number;
  kill(): void;
  /** Called when the worker has ended and all its messages were received. */
  onExit(exit: (code: number | null, signal: string | null) => void): void;
}

/**
 * Makes glibc return freed buffers of 128 KiB and more at once. By default, glibc raises this threshold up to 32 MiB.
 * It would then keep hundreds of megabytes of freed memory. All threads share two arenas, because with one for each
 * thread, every arena keeps memory that its thread used only during the startup.
 *
 * @see https://man7.org/linux/man-pages/man3/mallopt.3.html
 */
const ALLOCATOR = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '131072',
  MALLOC_TRIM_THRESHOLD_: '131072',
};

/**
 * Starts another process with the arguments and environment of this one.
 *
 * @param execArgv options of Node.js for it
 * @throws Error if the kernel refuses another process, such as for lack of descriptors
 */
export function forkWorker(execArgv: string[]): WorkerProcess {
  // Each worker accepts connections by itself. If the primary accepted them, a connection in transit to an ending
  // worker would stay there, and its client would wait forever. The primary would also give busy workers as many as
  // idle ones.
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  // JSON cannot represent NaN, which metrics can contain.
  cluster.setupPrimary({ serialization: 'advanced', execArgv });
  const worker = cluster.fork(ALLOCATOR);
  // Without a listener, an error that Node.js reports a moment later would end this process.
  worker.on('error', () => {});
  const { pid } = worker.process;
  if (!pid) {
    delete cluster.workers?.[worker.id];
    throw new Error(
      'The kernel refused another process, because there are too many open files or processes, or too little memory',
    );
  }
  return {
    ...peerOf<ToPrimary, ToWorker>(worker),
    pid,
    kill: () => worker.process.kill('SIGKILL'),
    onExit(exit) {
      // The last messages of a worker may arrive after its exit.
      const silent = once(worker.process, 'disconnect').catch(() => {});
      worker.process.once('exit', (code, signal) => void silent.then(() => exit(code, signal)));
    },
  };
}

function peerOf<Incoming, Outgoing extends object>(
  worker: Worker,
): Pick<Peer<Incoming, Outgoing>, 'send' | 'onMessage'> {
  return {
    send(message) {
      const { promise, resolve } = Promise.withResolvers<void>();
      if (!worker.isConnected()) return Promise.resolve();
      worker.send(message, () => resolve());
      return promise;
    },
    onMessage: (take) => worker.on('message', take),
  };
}

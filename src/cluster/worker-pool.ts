import type { Logger } from 'pino';
import type { MetricsSnapshot } from '../telemetry/metrics.ts';
import type { StartFailure, ToPrimary, ToWorker } from './messages.ts';
import type { WorkerProcess } from './peers.ts';
import { restartDelay } from './restart-delay.ts';

/** The workers of a service, each replaced when it ends. */
export interface WorkerPool {
  /**
   * Starts the workers. Resolves once all of them serve.
   *
   * @returns the listening addresses and the lines that announce them
   * @throws StartError if the first one cannot start, so that none will
   */
  start(): Promise<Listening>;
  /** Sends a message to all started workers. */
  tell(message: ToWorker): void;
  /** The number of workers that serve. */
  serving(): number;
  /** Collects the metrics of all workers. Waits for each only until a timeout. */
  measure(): Promise<void>;
  /** The last message of each worker. */
  snapshots(): readonly MetricsSnapshot[];
  /**
   * Stops the workers gracefully: they accept no more connections, and end once their current ones are closed.
   *
   * @param patience milliseconds after which the remaining workers are killed
   * @returns true if all ended by themselves
   */
  stop(patience: number): Promise<boolean>;
  /** Kills all workers immediately. */
  kill(): void;
}

export interface Listening {
  readonly url: string;
  readonly lines: readonly string[];
}

export interface WorkerPoolOptions {
  readonly size: number;
  /** Starts a worker. Throws if the system cannot start a process at the moment. */
  readonly fork: () => WorkerProcess;
  /** Creates the first message to a worker. */
  readonly part: () => ToWorker;
  /** Returns the status of the certificate, which a worker requests. */
  readonly answer: () => Promise<ToWorker>;
  /** Called when a worker has ended unexpectedly, or cannot start, with its last metrics. */
  readonly onLost: () => void;
  readonly onEnd: (last: MetricsSnapshot) => void;
  /** A monotonic clock, in milliseconds. */
  readonly uptime: () => number;
  /** Returns a number from 0 to 1 for jitter. */
  readonly random: () => number;
  readonly logger: Logger;
}

/** No worker can start. */
export class StartError extends Error {
  override readonly name = 'StartError';
  /** The reason it reported; undefined if it exited without one. */
  readonly failure: StartFailure | undefined;
  readonly exitCode: number;

  constructor(failure: StartFailure | undefined, exitCode: number) {
    super('The first worker could not start');
    this.failure = failure;
    this.exitCode = exitCode;
  }
}

interface Member {
  readonly worker: WorkerProcess;
  readonly slot: Slot;
  readonly begun: number;
  state: 'preparing' | 'prepared' | 'invited' | 'serving' | 'stopping';
  failure: StartFailure | undefined;
  snapshot: MetricsSnapshot;
  /** The number of consecutive polls without an answer. */
  silence: number;
  onMeasured: (() => void)[];
}

/** A place in the pool for one worker and its replacements. */
interface Slot {
  /** The number of consecutive workers that ended soon after their start. */
  shortLives: number;
}

/** Milliseconds between two polls of each worker. */
const LOOK_MS = 5_000;
/** Unanswered polls after which a worker counts as unresponsive. */
const MOST_SILENCE = 6;
/** Milliseconds that a request for metrics waits for a worker. */
const MEASURE_PATIENCE_MS = 1_000;
/** Milliseconds. A worker that exits sooner may exit again at once. */
const SHORT_LIFE_MS = 10_000;

export function createWorkerPool(options: WorkerPoolOptions): WorkerPool {
  const { size, fork, part, answer, onLost, onEnd, uptime, random, logger } = options;
  const members = new Set<Member>();
  const replacements = new Set<NodeJS.Timeout>();
  const listening = Promise.withResolvers<Listening>();
  const ended = Promise.withResolvers<void>();
  let hasServed = false;
  let isComplete = false;
  let isStopping = false;
  let endedWell = true;

  const inState = (state: Member['state']): Member[] =>
    [...members].filter((member) => member.state === state);
  /** The first worker opens the listening sockets; the others start together afterwards. */
  const invite = (): void => {
    const isOpen = inState('serving').length > 0;
    if (!isOpen && inState('invited').length > 0) return;
    for (const member of inState('prepared').slice(0, isOpen ? size : 1)) {
      member.state = 'invited';
      member.worker.send({ type: 'listen' });
    }
  };
  const begin = (slot: Slot): void => {
    let worker: WorkerProcess;
    try {
      worker = fork();
    } catch (err) {
      const { message } = err as Error;
      if (!hasServed) listening.reject(new StartError({ message }, 1));
      else {
        logger.error({ err }, `Cannot start a worker; trying again: ${message}`);
        slot.shortLives += 1;
        beginLater(slot);
      }
      return;
    }
    const member: Member = {
      worker,
      slot,
      begun: uptime(),
      state: 'preparing',
      failure: undefined,
      snapshot: [],
      silence: 0,
      onMeasured: [],
    };
    members.add(member);
    member.worker.onMessage((message) => take(member, message));
    member.worker.onExit((code, signal) => leave(member, code, signal));
    member.worker.send(part());
  };
  const replace = ({ slot, begun, state }: Member): void => {
    const isShort = state !== 'serving' || uptime() - begun < SHORT_LIFE_MS;
    slot.shortLives = isShort ? slot.shortLives + 1 : 0;
    beginLater(slot);
  };
  const beginLater = (slot: Slot): void => {
    const timer = setTimeout(
      () => {
        replacements.delete(timer);
        begin(slot);
      },
      restartDelay(slot.shortLives, random()),
    );
    replacements.add(timer);
  };
  const take = (member: Member, message: ToPrimary): void => {
    member.silence = 0;
    if (message.type === 'prepared') member.state = 'prepared';
    else if (message.type === 'failed') member.failure = message.failure;
    else if (message.type === 'listening') {
      member.state = 'serving';
      hasServed = true;
      if (isComplete) logger.info({ worker: member.worker.pid }, 'Another worker serves');
      else if (inState('serving').length === size) {
        isComplete = true;
        listening.resolve(message);
      }
    } else if (message.type === 'measured') {
      member.snapshot = message.snapshot;
      for (const measured of member.onMeasured.splice(0)) measured();
    } else if (message.type === 'stopping') {
      if (!isStopping) {
        lose(member, 'A worker ends and finishes what it has begun; another one takes its place');
      }
      member.state = 'stopping';
    } else {
      answer().then((reply) => member.worker.send(reply));
    }
    if (!isStopping) invite();
  };
  const lose = (member: Member, line: string): void => {
    logger.error({ worker: member.worker.pid }, line);
    onLost();
    replace(member);
  };
  const leave = (member: Member, code: number | null, signal: string | null): void => {
    members.delete(member);
    onEnd(member.snapshot);
    for (const measured of member.onMeasured.splice(0)) measured();
    if (isStopping) {
      // A worker that does not listen for signals yet dies from the signal to its process group.
      endedWell &&= code === 0 || signal === 'SIGTERM';
      if (members.size === 0) ended.resolve();
      return;
    }
    if (!hasServed) {
      listening.reject(new StartError(member.failure, code ?? 1));
      return;
    }
    if (member.state !== 'stopping') lose(member, describeEnd(member, signal ?? `${code}`));
    invite();
  };
  const look = (): void => {
    for (const member of members) {
      member.silence += 1;
      if (member.silence > MOST_SILENCE) {
        logger.error({ worker: member.worker.pid }, 'A worker is unresponsive; killing it');
        member.worker.kill();
      } else member.worker.send({ type: 'measure' });
    }
  };
  const kill = (): void => {
    for (const { worker } of members) worker.kill();
  };
  const looks = setInterval(look, LOOK_MS);
  looks.unref();

  return {
    start() {
      for (let at = 0; at < size; at++) begin({ shortLives: 0 });
      return listening.promise;
    },
    tell(message) {
      for (const { worker } of members) worker.send(message);
    },
    serving: () => inState('serving').length,
    async measure() {
      const answers = [...members].map(({ worker, onMeasured }) => {
        worker.send({ type: 'measure' });
        return new Promise<void>((resolve) => onMeasured.push(resolve));
      });
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, MEASURE_PATIENCE_MS);
      await Promise.race([Promise.all(answers), promise]);
      clearTimeout(timer);
    },
    snapshots: () => [...members].map(({ snapshot }) => snapshot),
    async stop(patience) {
      isStopping = true;
      clearInterval(looks);
      for (const timer of replacements) clearTimeout(timer);
      if (members.size === 0) return endedWell;
      for (const { worker } of members) worker.send({ type: 'stop' });
      const timer = setTimeout(kill, patience);
      await ended.promise;
      clearTimeout(timer);
      return endedWell;
    },
    kill,
  };
}

function describeEnd({ state, failure }: Member, how: string): string {
  if (failure !== undefined) {
    const why = 'message' in failure ? failure.message : failure.mistakes.join(' ');
    return `A worker could not start: ${why}`;
  }
  return state === 'serving'
    ? `A worker has ended (${how}), and its connections with it; another one takes its place`
    : `A worker has ended before it could serve (${how}); another one takes its place`;
}

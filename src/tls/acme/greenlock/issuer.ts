import { extname } from 'node:path';
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';
import { type Certificate, isFor, parseCertificate } from '../../certificate.ts';
import { type CertificateIssuer, type CertificateOrder, IssueError, type IssueFailure } from '../issuer.ts';
import { answerCalls, type OrderStores } from './thread-stores.ts';
import type { WorkerMessage, WorkerTask } from './worker.ts';

export interface GreenlockIssuerOptions {
  /** A folder of its own, in case that greenlock writes something. */
  readonly folder: string;
  readonly stores: OrderStores;
  /** Takes what greenlock tells and prints. */
  readonly onOutput: (line: string) => void;
  /** Milliseconds that an order may take; five minutes unless told. */
  readonly timeout?: number;
  /** Milliseconds that one request may take, from the connection to the last byte; half a minute unless told. */
  readonly requestTimeout?: number;
  /** The module that the thread runs; greenlock's unless told. */
  readonly worker?: URL;
}

const TIMEOUT_MS = 300_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** greenlock takes some 20 MiB; a slow leak ends its thread. (A fast one can end the process before V8 notices.) */
const LARGEST_HEAP_MB = 128;

/**
 * Gets certificates through greenlock, in a thread that lives for one order. On some errors greenlock exits its
 * process, and it prints to stdout. It is needed only for seconds in a month.
 */
export function createGreenlockIssuer(options: GreenlockIssuerOptions): CertificateIssuer {
  const { folder, stores, onOutput, timeout = TIMEOUT_MS, requestTimeout = REQUEST_TIMEOUT_MS } = options;
  const script = options.worker ?? new URL(`./worker${extname(import.meta.url)}`, import.meta.url);
  return {
    async issue(order, signal) {
      signal.throwIfAborted();
      const task: WorkerTask = { order, folder, requestTimeout };
      const worker = new Worker(script, {
        workerData: task,
        // greenlock chooses its staging directory if ENV or a flag of the server suggests it.
        env: {},
        argv: [],
        execArgv: [],
        stdout: true,
        stderr: true,
        resourceLimits: { maxOldGenerationSizeMb: LARGEST_HEAP_MB },
      });
      const challenges = removable(stores.challenges);
      answerCalls(worker, { ...stores, challenges });
      for (const input of [worker.stdout, worker.stderr]) createInterface({ input }).on('line', onOutput);
      try {
        return await outcome(
          worker,
          order,
          AbortSignal.any([signal, AbortSignal.timeout(timeout)]),
          onOutput,
        );
      } finally {
        await worker.terminate();
        await challenges.removeRest();
      }
    },
  };
}

/**
 * Remembers the challenges, because greenlock removes only valid ones, and none after it is terminated. A challenge
 * that cannot be removed stays: it must not cost the certificate.
 */
function removable({ get, set, remove }: OrderStores['challenges']) {
  const left = new Set<string>();
  return {
    get,
    async set(token: string, keyAuthorization: string) {
      left.add(token);
      await set(token, keyAuthorization);
    },
    async remove(token: string) {
      await remove(token);
      left.delete(token);
    },
    async removeRest() {
      for (const token of left) await remove(token).catch(() => {});
    },
  };
}

function outcome(
  worker: Worker,
  order: CertificateOrder,
  signal: AbortSignal,
  onOutput: (line: string) => void,
): Promise<Certificate> {
  const { promise, resolve, reject } = Promise.withResolvers<Certificate>();
  const authority = URL.parse(order.directory)?.host ?? order.directory;
  const fail = (code: IssueFailure['code'], message: string, cause?: unknown): void =>
    reject(new IssueError({ code, message, retryAfter: undefined }, { cause }));

  const onAbort = (): void => fail('ca-slow', `The order at ${authority} was not done in time.`);
  signal.addEventListener('abort', onAbort, { once: true });
  worker.on('message', (message: WorkerMessage) => {
    if (message.kind === 'event') onOutput(`${message.event} ${message.details}`);
    else if (message.kind === 'failed') reject(new IssueError(message.failure));
    else if (message.kind === 'issued') {
      try {
        resolve(checked(message, order));
      } catch (error) {
        fail(
          'ca-failed',
          `${authority} issued an unusable certificate: it ${(error as Error).message}.`,
          error,
        );
      }
    }
  });
  worker.once('error', (error) =>
    fail('worker-ended', `greenlock ended with an error: ${error.message}.`, error),
  );
  worker.once('exit', (code) =>
    fail('worker-ended', `greenlock ended with exit code ${code} before the order was done.`),
  );
  return promise.finally(() => signal.removeEventListener('abort', onAbort));
}

function checked({ cert, key }: { cert: string; key: string }, { domains }: CertificateOrder): Certificate {
  const certificate = parseCertificate(cert, key);
  if (!isFor(certificate, domains)) throw new Error(`is not for ${domains.join(', ')}`);
  return certificate;
}

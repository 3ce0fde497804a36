import { extname } from 'node:path';
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';
import { quote } from '../../errors.ts';
import { parseIpAddress } from '../../util/ip-address.ts';
import { type Certificate, isFor, parseCertificate } from '../certificate.ts';
import type { Challenge, ChallengeResponder } from './challenge.ts';
import { PROPAGATION_MS } from './dns-responder.ts';
import { type CertificateIssuer, type CertificateOrder, IssueError, type IssueFailure } from './issuer.ts';
import type { WorkerMessage, WorkerTask } from './thread-messages.ts';
import { answerCalls, type OrderStores } from './thread-stores.ts';

/** The ACME clients, each named after the folder of its thread. */
export type AcmeClient = 'greenlock' | 'builtin';

export interface ThreadIssuerOptions {
  readonly client: AcmeClient;
  /** A separate folder for files that the client might write. */
  readonly folder: string;
  readonly stores: OrderStores;
  /** Receives the log lines and the output of the client. */
  readonly onOutput: (line: string) => void;
  /** Milliseconds that an order may take. By default five minutes, ten seconds more for each name, and more for DNS. */
  readonly timeout?: number;
  /** Milliseconds that one request may take, from the connection to the last byte. By default 30 seconds. */
  readonly requestTimeout?: number;
  /** The module that the thread runs. By default that of the client. */
  readonly worker?: URL;
}

const TIMEOUT_MS = 300_000;
const TIMEOUT_BY_NAME_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Milliseconds for a DNS hook to add one record, and to remove it. */
const HOOK_MS = 60_000;
/** A client uses some 20 MiB. A slow leak ends its thread; a fast one can end the process before V8 notices. */
const LARGEST_HEAP_MB = 128;

/**
 * Gets certificates through an ACME client in a thread that lives for one order. An order takes seconds in a month, and
 * greenlock exits its process on some errors and prints to stdout.
 */
export function createThreadIssuer(options: ThreadIssuerOptions): CertificateIssuer {
  const { client, folder, stores, onOutput, requestTimeout = REQUEST_TIMEOUT_MS } = options;
  const script = options.worker ?? new URL(`./${client}/worker${extname(import.meta.url)}`, import.meta.url);
  return {
    async issue(order, signal) {
      signal.throwIfAborted();
      const timeout = options.timeout ?? timeLimit(order);
      const limit = AbortSignal.any([signal, AbortSignal.timeout(timeout)]);
      const task: WorkerTask = { order, folder, requestTimeout };
      const worker = new Worker(script, {
        workerData: task,
        // greenlock selects its staging directory if ENV or a flag of the server suggests it.
        env: {},
        argv: [],
        execArgv: [],
        stdout: true,
        stderr: true,
        resourceLimits: { maxOldGenerationSizeMb: LARGEST_HEAP_MB },
      });
      const challenges = guarded(stores.challenges, order, limit);
      answerCalls(worker, { ...stores, challenges });
      for (const input of [worker.stdout, worker.stderr]) createInterface({ input }).on('line', onOutput);
      try {
        return await outcome(worker, client, order, limit, onOutput);
      } finally {
        await worker.terminate();
        await challenges.removeRest();
      }
    },
  };
}

/** Milliseconds that an order may take. Hooks run one at a time, and all records may spread at the same time. */
function timeLimit({ domains, challenge }: CertificateOrder): number {
  const usual = TIMEOUT_MS + TIMEOUT_BY_NAME_MS * domains.length;
  return challenge === 'dns-01' ? usual + PROPAGATION_MS + HOOK_MS * domains.length : usual;
}

/**
 * Answers only challenges for names of the order, because the authority chooses the name, and a DNS hook may do anything
 * with it. Remembers the challenges, because a client that fails or is terminated leaves them. A challenge that cannot be
 * removed stays: it must not cost the certificate.
 */
function guarded(
  { present, spread, cleanup }: ChallengeResponder,
  { domains }: CertificateOrder,
  signal: AbortSignal,
) {
  const names = new Set(domains.map((domain) => identifierOf(domain.replace(/^\*\./, ''))));
  const left = new Map<string, Challenge>();
  return {
    // The client in the thread may not know all challenges.
    spread: () => spread([...left.values()], signal),
    async present(challenge: Challenge) {
      if (!names.has(identifierOf(challenge.name)))
        throw new Error(`the challenge for ${quote(challenge.name)} is not for a name of the order`);
      left.set(challenge.token, challenge);
      await present(challenge, signal);
    },
    async cleanup(challenge: Challenge) {
      await cleanup(challenge);
      left.delete(challenge.token);
    },
    async removeRest() {
      for (const challenge of left.values()) await cleanup(challenge).catch(() => {});
    },
  };
}

/** A name in the form in which names are equal. */
function identifierOf(name: string): string {
  return parseIpAddress(name)?.toString() ?? name.toLowerCase();
}

function outcome(
  worker: Worker,
  client: AcmeClient,
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
    fail('worker-ended', `The ACME client ${client} ended with an error: ${error.message}.`, error),
  );
  worker.once('exit', (code) =>
    fail('worker-ended', `The ACME client ${client} ended with exit code ${code} before the order was done.`),
  );
  return promise.finally(() => signal.removeEventListener('abort', onAbort));
}

function checked({ cert, key }: { cert: string; key: string }, { domains }: CertificateOrder): Certificate {
  const certificate = parseCertificate(cert, key);
  if (!isFor(certificate, domains)) throw new Error(`is not for ${domains.join(', ')}`);
  return certificate;
}

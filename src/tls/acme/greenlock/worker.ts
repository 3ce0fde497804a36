/** The thread that runs greenlock. It processes one order, reports the outcome, and is terminated. */
import { generateKeyPairSync } from 'node:crypto';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { workerData } from 'node:worker_threads';
import { trustSystemAuthorities } from '../../../util/system-authorities.ts';
import { explainFailure, type WhatHappened } from '../explain-failure.ts';
import type { CertificateOrder, IssueFailure } from '../issuer.ts';
import { containGreenlock } from './adapter.ts';
import { storesFrom, threadPort } from './thread-stores.ts';
import { AcmeProblemError, isAccountProblem } from './transport.ts';

/** The input of the thread. */
export interface WorkerTask {
  readonly order: CertificateOrder;
  /** A folder for files that greenlock might write; it writes none. */
  readonly folder: string;
  /** Milliseconds that one request may take. */
  readonly requestTimeout: number;
}

/** A message of the thread, by `postMessage`. */
export type WorkerMessage =
  | { readonly kind: 'event'; readonly event: string; readonly details: string }
  | { readonly kind: 'issued'; readonly cert: string; readonly key: string }
  | { readonly kind: 'failed'; readonly failure: IssueFailure };

const { order, folder, requestTimeout } = workerData as WorkerTask;
const { directory, email, domains } = order;
const port = threadPort();
const { accounts } = storesFrom(port);
const tell = (message: WorkerMessage): void => port.postMessage(message);
const plugin = (name: string): string =>
  fileURLToPath(new URL(`./${name}${extname(import.meta.url)}`, import.meta.url));

// Each thread has its own TLS defaults.
trustSystemAuthorities();
const { greenlock, lastProblem, lastError, takesAccount } = await containGreenlock({
  domains,
  requestTimeout,
});
const authority = greenlock.create({
  packageRoot: fileURLToPath(new URL('../../../..', import.meta.url)),
  configDir: folder,
  maintainerEmail: email,
  renew: false,
  manager: {
    module: plugin('manager'),
    defaults: {
      directoryUrl: directory,
      subscriberEmail: email,
      agreeToTerms: true,
      store: { module: plugin('store') },
      challenges: { 'http-01': { module: plugin('challenge') } },
      accountKeyType: 'EC-P256',
      serverKeyType: 'EC-P256',
      // These have no effect, as greenlock manages nothing, but silence its messages about defaults.
      renewOffset: '-45d',
      renewStagger: '3d',
    },
  },
  notify(event: string, details: unknown) {
    tell({ kind: 'event', event, details: describe(details) });
  },
});

const [subject = ''] = domains;
const outcome = await goThroughOrder().catch(
  (error): Failure => ({ error, problem: undefined, isAccountRefused: false }),
);
if ('pems' in outcome) {
  const { cert, chain, privkey } = outcome.pems;
  tell({ kind: 'issued', cert: `${cert.trim()}\n${chain.trim()}\n`, key: privkey });
} else tell({ kind: 'failed', failure: explainFailure({ ...outcome, directory }) });

type Failure = Omit<WhatHappened, 'directory'>;
type Outcome = { readonly pems: Awaited<ReturnType<typeof authority.order>> } | Failure;

async function goThroughOrder(): Promise<Outcome> {
  const first = await attempt();
  if ('pems' in first || !(await renewAccount(first))) return first;
  const second = await attempt();
  return 'pems' in second ? second : { ...second, isAccountRefused: true };
}

async function attempt(): Promise<Outcome> {
  try {
    return { pems: await authority.order({ subject, altnames: domains }) };
  } catch (error) {
    return { error: lastError() ?? (error as Error), problem: lastProblem(), isAccountRefused: false };
  }
}

/**
 * Prepares a new account if the authority refuses this one; returns false if the failure has another cause. A forgotten
 * account keeps its key. A deactivated account gets a new key, because the authority refuses the old one.
 */
async function renewAccount({ problem }: Failure): Promise<boolean> {
  if (problem === undefined || !isAccountProblem(problem)) return false;
  const account = await accounts.account(directory);
  if (account === undefined) return false;
  const isForgotten = problem.type.endsWith(':accountDoesNotExist');
  if (!isForgotten && (await takesAccount(account).catch(() => true))) return false;
  await accounts.putAccount(directory, { key: isForgotten ? account.key : freshKey(), url: undefined });
  return true;
}

function freshKey(): object {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
}

function describe(details: unknown): string {
  if (details instanceof AcmeProblemError) return details.message;
  if (details instanceof Error) return details.stack ?? details.message;
  return JSON.stringify(details);
}

/** The thread that runs greenlock. It processes one order, reports the outcome, and is terminated. */
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { workerData } from 'node:worker_threads';
import { explainFailure, type WhatHappened } from '../explain-failure.ts';
import { keepRefusedAccount, renewAccount } from '../renew-account.ts';
import type { WorkerMessage, WorkerTask } from '../thread-messages.ts';
import { storesFrom, threadPort } from '../thread-stores.ts';
import { AcmeProblemError } from '../transport.ts';
import { trustAuthority } from '../trust-authority.ts';
import { containGreenlock } from './adapter.ts';

const { order, folder, requestTimeout } = workerData as WorkerTask;
const { directory, email, domains } = order;
const port = threadPort();
const { accounts, challenges } = storesFrom(port);
const tell = (message: WorkerMessage): void => port.postMessage(message);
const plugin = (name: string): string =>
  fileURLToPath(new URL(`./${name}${extname(import.meta.url)}`, import.meta.url));

// Each thread has its own TLS defaults.
trustAuthority(order.authorities);
const { greenlock, lastProblem, lastError, takesAccount } = await containGreenlock({
  domains,
  challenge: order.challenge,
  requestTimeout,
  spread: () => challenges.spread([]),
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
      challenges: { [order.challenge ?? 'http-01']: { module: plugin('challenge') } },
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
} else
  tell({ kind: 'failed', failure: explainFailure({ ...outcome, directory, challenge: order.challenge }) });

type Failure = Omit<WhatHappened, 'directory' | 'challenge'>;
type Outcome = { readonly pems: Awaited<ReturnType<typeof authority.order>> } | Failure;

async function goThroughOrder(): Promise<Outcome> {
  const first = await attempt();
  if ('pems' in first) return first;
  const { problem } = first;
  const refused = await renewAccount({ directory, problem, accounts, takesAccount });
  if (refused === undefined) return first;
  const second = await attempt();
  if ('pems' in second) return second;
  await keepRefusedAccount({ directory, problem: second.problem, accounts }, refused);
  return { ...second, isAccountRefused: true };
}

async function attempt(): Promise<Outcome> {
  try {
    return { pems: await authority.order({ subject, altnames: domains }) };
  } catch (error) {
    return { error: lastError() ?? (error as Error), problem: lastProblem(), isAccountRefused: false };
  }
}

function describe(details: unknown): string {
  if (details instanceof AcmeProblemError) return details.message;
  if (details instanceof Error) return details.stack ?? details.message;
  return JSON.stringify(details);
}

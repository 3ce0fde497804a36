/** The thread that greenlock lives in: it goes through one order, tells how that went, and is ended. */
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { workerData } from 'node:worker_threads';
import { explainFailure } from './explain-failure.ts';
import { containGreenlock } from './greenlock-adapter.ts';
import type { CertificateOrder, IssueFailure } from './issuer.ts';
import { storesFrom, threadPort } from './thread-stores.ts';
import { AcmeProblemError } from './transport.ts';

/** What the thread is started with. */
export interface WorkerTask {
  readonly order: CertificateOrder;
  /** For what greenlock wants to write; it has nothing to. */
  readonly folder: string;
  /** Milliseconds that one request may take. */
  readonly requestTimeout: number;
}

/** What it tells, by `postMessage`. */
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
  fileURLToPath(new URL(`./greenlock-${name}${extname(import.meta.url)}`, import.meta.url));

const { greenlock, lastProblem, lastError } = await containGreenlock({ domains, requestTimeout });
const authority = greenlock.create({
  packageRoot: fileURLToPath(new URL('../../..', import.meta.url)),
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
      // Of no effect, as it manages nothing; without them it says what it takes instead.
      renewOffset: '-45d',
      renewStagger: '3d',
    },
  },
  notify(event: string, details: unknown) {
    tell({ kind: 'event', event, details: describe(details) });
  },
});

try {
  const { cert, chain, privkey } = await orderOnce();
  tell({ kind: 'issued', cert: `${cert.trim()}\n${chain.trim()}\n`, key: privkey });
} catch (error) {
  tell({
    kind: 'failed',
    failure: explainFailure({ error: lastError() ?? (error as Error), problem: lastProblem(), directory }),
  });
}

/** An authority that has forgotten the account gets to know its key anew. */
async function orderOnce() {
  const [subject = ''] = domains;
  const site = { subject, altnames: domains };
  try {
    return await authority.order(site);
  } catch (error) {
    const account = await accounts.account(directory);
    if (!lastProblem()?.type.endsWith(':accountDoesNotExist') || account === undefined) throw error;
    await accounts.putAccount(directory, { key: account.key, url: undefined });
    return authority.order(site);
  }
}

function describe(details: unknown): string {
  if (details instanceof AcmeProblemError) return details.message;
  if (details instanceof Error) return details.stack ?? details.message;
  return JSON.stringify(details);
}

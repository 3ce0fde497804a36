/** The thread that runs our own ACME client. It processes one order, reports the outcome, and is terminated. */
import { setTimeout as pause } from 'node:timers/promises';
import { workerData } from 'node:worker_threads';
import type { AcmeAccount } from '../../stores/certificate-store.ts';
import { explainFailure } from '../explain-failure.ts';
import { freshAccountKey, isLiveAccount, keepRefusedAccount, renewAccount } from '../renew-account.ts';
import type { WorkerMessage, WorkerTask } from '../thread-messages.ts';
import { storesFrom, threadPort } from '../thread-stores.ts';
import { AcmeProblemError, acmeFetch, isAccountProblem } from '../transport.ts';
import { trustAuthority } from '../trust-authority.ts';
import { goThroughOrder, type IssuedCertificate, openAccount } from './order.ts';
import { openSession, type Session } from './session.ts';

const { order, requestTimeout } = workerData as WorkerTask;
const { directory } = order;
const port = threadPort();
const { accounts, challenges } = storesFrom(port);
const tell = (message: WorkerMessage): void => port.postMessage(message);

// Each thread has its own TLS defaults.
trustAuthority(order.authorities);
await goThrough();

async function goThrough(): Promise<void> {
  const first = await attempt().catch((error: Error) => error);
  if (!(first instanceof Error)) return tell({ kind: 'issued', ...first });
  const refused = await renewAccount({ directory, problem: problemIn(first), accounts, takesAccount });
  if (refused === undefined) return fail(first, false);
  const second = await attempt().catch((error: Error) => error);
  if (!(second instanceof Error)) return tell({ kind: 'issued', ...second });
  await keepRefusedAccount({ directory, problem: problemIn(second), accounts }, refused);
  fail(second, true);
}

async function attempt(): Promise<IssuedCertificate> {
  const stored = await accounts.account(directory);
  const key = stored?.key ?? freshAccountKey();
  const session = await sessionOf(key);
  if (stored?.url === undefined) {
    await accounts.putAccount(directory, { key, url: undefined });
    const url = await openAccount(session, order);
    await accounts.putAccount(directory, { key, url });
    session.accountUrl = url;
  } else session.accountUrl = stored.url;
  return goThroughOrder(session, order, challenges);
}

async function takesAccount({ key, url }: AcmeAccount): Promise<boolean> {
  if (url === undefined) return false;
  try {
    const session = await sessionOf(key);
    session.accountUrl = url;
    return isLiveAccount((await session.post(url)).body);
  } catch (error) {
    if (error instanceof AcmeProblemError) return !isAccountProblem(error.problem);
    throw error;
  }
}

function sessionOf(accountKey: object): Promise<Session> {
  return openSession({
    directory,
    accountKey,
    request: (request) => acmeFetch(request, requestTimeout),
    clock: { now: Date.now, pause },
  });
}

function fail(error: Error, isAccountRefused: boolean): void {
  const problem = problemIn(error);
  const { challenge } = order;
  tell({
    kind: 'failed',
    failure: explainFailure({ error, problem, directory, challenge, isAccountRefused }),
  });
}

function problemIn(error: unknown) {
  return error instanceof AcmeProblemError ? error.problem : undefined;
}

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Config } from '../config/schema.ts';
import { trialDirectory } from '../config/tls.ts';
import type { OrderStores } from '../tls/acme/thread-stores.ts';
import type { AcmeAccount } from '../tls/stores/certificate-store.ts';
import { challengesOf, createIssuer, orderOf } from './acme.ts';
import type { RenewalParts } from './certificate-renewal.ts';
import { readReport } from './running-service.ts';

type Challenges = OrderStores['challenges'];

const CHALLENGE_PATH = '/.well-known/acme-challenge/';

/**
 * Orders a certificate from the directory for trials, by an account of its own, and discards both. The running service
 * answers the challenges; without one, this process listens in its place. Certificates, accounts, and counts of
 * attempts in the state folder stay as they are.
 *
 * @returns the host of the authority
 * @throws IssueError if the authority does not issue
 */
export async function tryOrder(
  config: Config,
  { logger, redis, owner }: Omit<RenewalParts, 'now'>,
  signal: AbortSignal,
): Promise<string> {
  const order = { ...orderOf(config), directory: trialDirectory(config.acmeDirectory) };
  const isServed = (await readReport(config, signal)) !== undefined;
  const challenges = isServed ? challengesOf(config, redis, owner) : challengesInMemory();
  await using stack = new AsyncDisposableStack();
  if (!isServed) stack.use(await serveChallenges(config, challenges));
  const issuer = await createIssuer(config, { accounts: accountInMemory(), challenges }, logger);
  await issuer.issue(order, signal);
  return new URL(order.directory).host;
}

async function serveChallenges({ host, port }: Config, { get }: Challenges): Promise<AsyncDisposable> {
  const server = createServer(async ({ url = '' }, response) => {
    const answer = url.startsWith(CHALLENGE_PATH) ? await get(url.slice(CHALLENGE_PATH.length)) : undefined;
    response.writeHead(answer === undefined ? 404 : 200).end(answer);
  });
  await once(server.listen(port, host), 'listening');
  return server;
}

function challengesInMemory(): Challenges {
  const answers = new Map<string, string>();
  return {
    get: async (token) => answers.get(token),
    set: async (token, answer) => void answers.set(token, answer),
    remove: async (token) => void answers.delete(token),
  };
}

function accountInMemory(): OrderStores['accounts'] {
  let kept: AcmeAccount | undefined;
  return {
    account: async () => kept,
    async putAccount(_authority, account) {
      kept = account;
    },
  };
}

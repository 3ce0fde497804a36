import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Config } from '../config/schema.ts';
import { trialDirectory } from '../config/tls.ts';
import { createAlpnCallback } from '../tls/acme/alpn-callback.ts';
import type { OrderStores } from '../tls/acme/thread-stores.ts';
import { temporaryCertificate } from '../tls/self-signed-provider.ts';
import { type AlpnChallenge, serverNameOf } from '../tls/stores/alpn-challenge-store.ts';
import type { AcmeAccount } from '../tls/stores/certificate-store.ts';
import { nodeTls } from '../util/builtins.ts';
import { type ChallengeAnswers, createIssuer, openAnswers, orderOf, responderOf } from './acme.ts';
import type { RenewalParts } from './certificate-renewal.ts';
import { readReport } from './running-service.ts';

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
  { logger, variables, killGroup, redis, owner }: Omit<RenewalParts, 'now'>,
  signal: AbortSignal,
): Promise<string> {
  const order = { ...orderOf(config), directory: trialDirectory(config.acmeDirectory) };
  const isServed = (await readReport(config, signal)) !== undefined;
  const answers = isServed ? openAnswers(config, redis, owner) : answersInMemory();
  await using stack = new AsyncDisposableStack();
  if (!isServed) stack.use(await serveChallenges(config, answers));
  const issuer = await createIssuer(
    config,
    {
      accounts: accountInMemory(),
      challenges: responderOf(config, answers, { logger, variables, killGroup }),
    },
    logger,
  );
  await issuer.issue(order, signal);
  return new URL(order.directory).host;
}

async function serveChallenges(
  { host, port, httpsPort }: Config,
  { http, alpn }: ChallengeAnswers,
): Promise<AsyncDisposable> {
  const web = createServer(async ({ url = '' }, response) => {
    const answer = url.startsWith(CHALLENGE_PATH)
      ? await http.get(url.slice(CHALLENGE_PATH.length))
      : undefined;
    response.writeHead(answer === undefined ? 404 : 200).end(answer);
  });
  const { cert, key } = temporaryCertificate(['localhost'], Date.now());
  const tls = nodeTls().createServer({ cert, key, ALPNCallback: createAlpnCallback(alpn.find, Date.now) });
  await using stack = new AsyncDisposableStack();
  for (const [server, at] of [
    [web, port],
    [tls, httpsPort],
  ] as const) {
    stack.defer(() => void server.close());
    await once(server.listen(at, host), 'listening');
  }
  return stack.move();
}

function answersInMemory(): ChallengeAnswers {
  const http = new Map<string, string>();
  const alpn = new Map<string, AlpnChallenge>();
  return {
    http: {
      get: async (token) => http.get(token),
      set: async (token, answer) => void http.set(token, answer),
      remove: async (token) => void http.delete(token),
      async removeAbandoned() {},
    },
    alpn: {
      find: (servername) => alpn.get(servername),
      set: async (name, keyAuthorization) => void alpn.set(serverNameOf(name), { name, keyAuthorization }),
      async spread() {},
      remove: async (name) => void alpn.delete(serverNameOf(name)),
      async removeAbandoned() {},
    },
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

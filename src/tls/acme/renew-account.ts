import { generateKeyPairSync } from 'node:crypto';
import type { AcmeAccount } from '../stores/certificate-store.ts';
import type { OrderStores } from './thread-stores.ts';
import { type AcmeProblem, isAccountProblem } from './transport.ts';

/**
 * States of an account from which authorities accept no requests.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-7.1.6
 */
const DEAD_ACCOUNTS = new Set<unknown>(['deactivated', 'revoked']);

export interface RefusedOrder {
  readonly directory: string;
  readonly problem: AcmeProblem | undefined;
  readonly accounts: OrderStores['accounts'];
  /** Asks the authority whether it accepts requests from an account. */
  readonly takesAccount: (account: AcmeAccount) => Promise<boolean>;
}

/**
 * Prepares a new account if the authority refuses this one. A forgotten account keeps its key. A deactivated account
 * gets a new key, because the authority refuses the old one.
 *
 * @returns the refused account; undefined if the failure has another cause
 */
export async function renewAccount(refused: RefusedOrder): Promise<AcmeAccount | undefined> {
  const { directory, problem, accounts, takesAccount } = refused;
  if (problem === undefined || !isAccountProblem(problem)) return undefined;
  const account = await accounts.account(directory);
  if (account === undefined) return undefined;
  const isForgotten = problem.type.endsWith(':accountDoesNotExist');
  if (!isForgotten && (await takesAccount(account).catch(() => true))) return undefined;
  const key = isForgotten ? account.key : freshAccountKey();
  await accounts.putAccount(directory, { key, url: undefined });
  return account;
}

/**
 * Puts a refused account back if the authority refuses to create its replacement. The key of its external account may
 * work only once, and the authority may accept the account again later.
 */
export async function keepRefusedAccount(
  { directory, problem, accounts }: Omit<RefusedOrder, 'takesAccount'>,
  refused: AcmeAccount,
): Promise<void> {
  if (problem === undefined) return;
  const current = await accounts.account(directory);
  if (current?.url === undefined) await accounts.putAccount(directory, refused);
}

/** Tells whether the response from the account's URL describes an account that may order. */
export function isLiveAccount(body: unknown): boolean {
  return !DEAD_ACCOUNTS.has((Object(body) as { status?: unknown }).status);
}

/** Generates an account key of the curve P-256, as a JSON Web Key. */
export function freshAccountKey(): object {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
}

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
 * Prepares a new account if the authority refuses this one; returns false if the failure has another cause. A forgotten
 * account keeps its key. A deactivated account gets a new key, because the authority refuses the old one.
 */
export async function renewAccount(refused: RefusedOrder): Promise<boolean> {
  const { directory, problem, accounts, takesAccount } = refused;
  if (problem === undefined || !isAccountProblem(problem)) return false;
  const account = await accounts.account(directory);
  if (account === undefined) return false;
  const isForgotten = problem.type.endsWith(':accountDoesNotExist');
  if (!isForgotten && (await takesAccount(account).catch(() => true))) return false;
  const key = isForgotten ? account.key : freshAccountKey();
  await accounts.putAccount(directory, { key, url: undefined });
  return true;
}

/** Tells whether the response from the account's URL describes an account that may order. */
export function isLiveAccount(body: unknown): boolean {
  return !DEAD_ACCOUNTS.has((Object(body) as { status?: unknown }).status);
}

/** Generates an account key of the curve P-256, as a JSON Web Key. */
export function freshAccountKey(): object {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
}

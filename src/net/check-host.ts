import { ServiceError } from '../errors.ts';
import { untilAborted } from '../util/until-aborted.ts';
import type { Guard } from './guard.ts';
import type { Lookup } from './name-lookup.ts';

/**
 * Checks the target of a connection that a peer without a guard makes. The name may resolve differently there, so this
 * check is not reliable. A name that does not resolve here passes.
 *
 * @param lookup resolves names that clients choose
 * @throws ServiceError `address-refused`; AbortError
 */
export async function checkHost(guard: Guard, lookup: Lookup, url: URL, signal: AbortSignal): Promise<void> {
  guard.checkUrl(url);
  if (guard.trusts(url.origin)) return;
  const hostname = url.hostname.replace(/^\[|\]$/g, '');
  try {
    guard.checkAddresses(hostname, await untilAborted(lookup(hostname), signal));
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ServiceError) throw error;
  }
}

/** Checks the addresses that a name resolves to here, if it resolves at all. */
export async function checkName(guard: Guard, hostname: string, lookup: Lookup): Promise<void> {
  const addresses = await lookup(hostname.replace(/^\[|\]$/g, '')).catch(() => []);
  guard.checkAddresses(hostname, addresses);
}

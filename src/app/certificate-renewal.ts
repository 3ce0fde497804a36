import { setTimeout as pause } from 'node:timers/promises';
import type { Config } from '../config/schema.ts';
import type { Redis } from '../redis/redis.ts';
import { ATTEMPTS, retryTime } from '../tls/schedule.ts';
import type { FileOwner } from '../util/atomic-file.ts';
import { type OrderEnvironment, openOrders } from './acme.ts';
import { readReport } from './running-service.ts';

export interface RenewalParts extends OrderEnvironment {
  readonly redis: Redis | undefined;
  /** The user of the service, if this process has another one. */
  readonly owner: FileOwner | undefined;
  /** Milliseconds since the epoch. */
  now(): number;
}

/** The outcome of a requested renewal: a full sentence. */
export interface RenewalOutcome {
  readonly isRenewed: boolean;
  readonly message: string;
}

const POLL_MS = 1000;
/** Milliseconds that the service may take: to notice the request, for one order, and for each name in it. */
const TIMEOUT_MS = 600_000;
const TIMEOUT_BY_NAME_MS = 10_000;

/**
 * Requests a renewal from the running service, and waits for the outcome. The service orders, because it answers the
 * challenges, counts attempts, and has the lock of replicas.
 */
export async function requestRenewal(
  config: Config,
  { logger, redis, owner, now }: RenewalParts,
  signal: AbortSignal,
): Promise<RenewalOutcome> {
  const failed = (message: string): RenewalOutcome => ({ isRenewed: false, message });
  if (config.tls !== 'acme')
    return failed(`The certificate is not from an ACME authority (--tls ${config.tls}).`);
  if ((await readReport(config, signal)) === undefined)
    return failed(
      'The service does not respond on this machine. Start it: it then orders a certificate that is due.',
    );
  const { store } = await openOrders(config, logger, redis, owner);
  const { acmeDirectory: directory, domains } = config;
  const before = await store.certificate(directory);
  const attempts = await store.attempts(directory);
  const at = now();
  const allowed = retryTime({ failures: 0, attempts, retryAfter: 0 }, at, 0);
  if (allowed > at) {
    const time = new Date(allowed).toISOString();
    return failed(`${ATTEMPTS} attempts in the last hour have failed. Try again after ${time}.`);
  }
  await store.putRequest(directory, at);
  const end = at + TIMEOUT_MS + TIMEOUT_BY_NAME_MS * domains.length;
  while (now() < end) {
    await pause(POLL_MS, undefined, { signal });
    const failure = await store.failure(directory);
    if (failure !== undefined && failure.at >= at) return failed(`${failure.message} [${failure.code}]`);
    const found = await store.certificate(directory);
    if (found !== undefined && found.fingerprint !== before?.fingerprint) {
      const until = new Date(found.notAfter).toISOString();
      return {
        isRenewed: true,
        message: `New certificate for ${found.names.join(', ')}, valid until ${until}.`,
      };
    }
  }
  return failed('The service did not renew the certificate in time. Read its log for the cause.');
}

import { setTimeout as pause } from 'node:timers/promises';
import { untilAborted } from '../../util/until-aborted.ts';
import { type Challenge, type ChallengeResponder, digestOf } from './challenge.ts';
import { DnsError } from './dns-error.ts';
import type { DnsHook, DnsRecord } from './dns-hook.ts';
import type { FindRecord } from './dns-propagation.ts';

export interface DnsResponderOptions {
  readonly hook: DnsHook;
  readonly find: FindRecord;
  /** A monotonic clock, in milliseconds. */
  readonly uptime: () => number;
  /** Milliseconds between two looks; by default 5 seconds. */
  readonly interval?: number;
}

/** Milliseconds until a record must be visible. */
export const PROPAGATION_MS = 600_000;
const INTERVAL_MS = 5000;

/** Answers DNS-01 by a program that adds and removes TXT records. The program runs once at a time. */
export function createDnsResponder(options: DnsResponderOptions): ChallengeResponder {
  const { hook, find, uptime, interval = INTERVAL_MS } = options;
  let running: Promise<unknown> = Promise.resolve();
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const done = running.then(work);
    running = done.catch(() => {});
    return done;
  };
  const untilVisible = async (record: DnsRecord, end: number, signal?: AbortSignal): Promise<void> => {
    for (;;) {
      const looking = find(record.name, record.value);
      const missing = await (signal === undefined ? looking : untilAborted(looking, signal));
      if (missing === undefined) return;
      if (uptime() >= end) {
        const minutes = PROPAGATION_MS / 60_000;
        throw new DnsError(
          `The TXT record of ${record.name} is not visible after ${minutes} minutes: ${missing}.`,
        );
      }
      await pause(interval, undefined, { ...(signal && { signal }) });
    }
  };
  return {
    present: (challenge, signal) => inTurn(() => hook('present', recordOf(challenge), signal)),
    async spread(challenges, signal) {
      const end = uptime() + PROPAGATION_MS;
      for (const challenge of challenges) await untilVisible(recordOf(challenge), end, signal);
    },
    cleanup: (challenge) => inTurn(() => hook('cleanup', recordOf(challenge), undefined)),
  };
}

/** @see https://www.rfc-editor.org/rfc/rfc8555#section-8.4 */
function recordOf(challenge: Challenge): DnsRecord {
  const value = digestOf(challenge.keyAuthorization).toString('base64url');
  return { name: `_acme-challenge.${challenge.name}`, value, challenge };
}

import type { Limit, LimitKind } from './limit.ts';

export const BANDWIDTH = {
  name: 'bandwidth',
  description: 'Bandwidth of all downloads together; null without a limit.',
  members: { limit: 'Bytes per second.' },
} as const satisfies LimitKind;

/** Limits the bandwidth of each client, over all its connections. */
export interface Bandwidth extends Limit<typeof BANDWIDTH> {
  /** Bytes a second. */
  readonly rate: number;
  /** A connection of a client. */
  open(client: string): Share;
}

export interface Share {
  /** Returns the milliseconds to wait before these bytes may be sent, and counts them as sent. */
  delay(bytes: number): number;
  close(): void;
}

/** The burst after a pause, in milliseconds of the client's bandwidth. */
const BURST_MS = 250;

/** @param now a monotonic clock, in milliseconds */
export function createBandwidth(rate: number, now: () => number): Bandwidth {
  /** The time at which each client may send its next byte. */
  const clients = new Map<string, { due: number; connections: number }>();
  return {
    name: BANDWIDTH.name,
    policyHeader: () => `"bandwidth";q=${rate};w=1;qu="content-bytes"`,
    status: async () => ({ limit: rate }),
    rate,
    open(client) {
      const share = clients.get(client) ?? { due: Number.NEGATIVE_INFINITY, connections: 0 };
      clients.set(client, share);
      share.connections += 1;
      return {
        delay(bytes) {
          const at = now();
          share.due = Math.max(share.due, at - BURST_MS) + (bytes / rate) * 1000;
          return Math.max(share.due - at, 0);
        },
        close() {
          share.connections -= 1;
          if (share.connections === 0) clients.delete(client);
        },
      };
    },
  };
}

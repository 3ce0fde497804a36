/**
 * The counters of limits. Every call is atomic, also among processes that share the store. Counters may be lost with
 * the store, because limits protect the service and do not bill.
 */
export interface CountingStore {
  /**
   * Adds to counters and tells, in the same order, what they are then. A counter begins with its first amount and again
   * when its window is over; an amount of 0 only reads. A negative amount takes back, and no counter falls below 0.
   */
  add(additions: readonly Addition[]): Promise<Count[]>;
  /** Takes a lease, or holds it longer, unless that would be more than `limits` allow. */
  acquire(lease: Lease, limits: LeaseLimits): Promise<Acquisition>;
  /** Holds leases of one's own longer, and takes those again that have expired. */
  renew(leases: readonly Lease[]): Promise<void>;
  /** Releases a lease; does nothing for an unknown one. */
  release(lease: Lease): Promise<void>;
  /** Downloads that a client has under way. */
  active(client: string): Promise<number>;
  close(): void;
}

export interface Addition {
  readonly counter: string;
  readonly amount: number;
  /** Milliseconds. */
  readonly window: number;
}

export interface Count {
  readonly value: number;
  /** Milliseconds until the counter begins again. */
  readonly resetsIn: number;
}

/** A process's part in a client's download. Several may have a part in one download: it counts once. */
export interface Lease {
  readonly client: string;
  readonly archive: string;
  /** The process. */
  readonly holder: string;
}

/** Downloads at most; 0 sets no limit. */
export interface LeaseLimits {
  readonly perClient: number;
  readonly total: number;
}

export type Acquisition = 'granted' | 'client-full' | 'service-full';

/** Milliseconds after which a lease expires without a renewal, because its process has died. */
export const LEASE_MS = 30_000;

/**
 * The counters of limits. Every call is atomic, also among processes that share the store. Counters may be lost with
 * the store, because limits protect the service and do not bill.
 */
export interface CountingStore {
  /**
   * Adds to counters and returns their new values in the same order. A counter starts with its first amount, and again
   * after its window. An amount of 0 only reads. A negative amount takes back, and no counter falls below 0.
   */
  add(additions: readonly Addition[]): Promise<Count[]>;
  /** Takes or renews a lease, unless that would exceed `limits`. */
  acquire(lease: Lease, limits: LeaseLimits): Promise<Acquisition>;
  /** Renews leases of this process, and takes expired ones again. */
  renew(leases: readonly Lease[]): Promise<void>;
  /** Releases a lease; does nothing for an unknown one. */
  release(lease: Lease): Promise<void>;
  /** Returns the number of downloads in progress of a client. */
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
  /** Milliseconds until the counter starts again. */
  readonly resetsIn: number;
}

/** The share of a process in a client's download. A download that several processes serve counts once. */
export interface Lease {
  readonly client: string;
  readonly archive: string;
  /** The process. */
  readonly holder: string;
}

/** Maximum downloads; 0 sets no limit. */
export interface LeaseLimits {
  readonly perClient: number;
  readonly total: number;
}

export type Acquisition = 'granted' | 'client-full' | 'service-full';

/** Milliseconds after which a lease expires without a renewal, because its process has died. */
export const LEASE_MS = 30_000;

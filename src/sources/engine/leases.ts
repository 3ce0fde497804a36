/**
 * Keeps a name meaning one thing for as long as somebody relies on it. An engine without the containerd store has one
 * image for a name: pulling it for another platform takes the name away from the image that is being saved.
 */
export interface Leases {
  /** Waits until nobody holds the name for another purpose; what comes back gives it back. Holders are served in turn. */
  take(name: string, purpose: string, signal: AbortSignal): Promise<() => void>;
  /** As {@link Leases.take}, but never waits and never shares: undefined where anybody holds the name. */
  tryTake(name: string): (() => void) | undefined;
}

interface Lease {
  purpose: string;
  holders: number;
  readonly waiting: { readonly purpose: string; readonly begin: () => void }[];
}

export function createLeases(): Leases {
  const leases = new Map<string, Lease>();

  const giver = (name: string, lease: Lease): (() => void) => {
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      lease.holders -= 1;
      if (lease.holders === 0) pass(name, lease);
    };
  };
  /** To the first who waits, and to those right behind who want the same. */
  const pass = (name: string, lease: Lease): void => {
    const [first] = lease.waiting;
    if (first === undefined) {
      leases.delete(name);
      return;
    }
    lease.purpose = first.purpose;
    while (lease.waiting[0]?.purpose === lease.purpose) {
      lease.holders += 1;
      lease.waiting.shift()?.begin();
    }
  };

  return {
    async take(name, purpose, signal) {
      signal.throwIfAborted();
      const lease = leases.get(name) ?? { purpose, holders: 0, waiting: [] };
      leases.set(name, lease);
      if (lease.purpose === purpose && lease.waiting.length === 0) {
        lease.holders += 1;
        return giver(name, lease);
      }
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const entry = { purpose, begin: resolve };
      lease.waiting.push(entry);
      const leave = (): void => {
        const at = lease.waiting.indexOf(entry);
        if (at === -1) return;
        lease.waiting.splice(at, 1);
        reject(signal.reason);
      };
      signal.addEventListener('abort', leave, { once: true });
      await promise.finally(() => signal.removeEventListener('abort', leave));
      return giver(name, lease);
    },

    tryTake(name) {
      if (leases.has(name)) return undefined;
      const lease = { purpose: '', holders: 1, waiting: [] };
      leases.set(name, lease);
      return giver(name, lease);
    },
  };
}

/**
 * Keeps the image of a name stable while requests depend on it. An engine without the containerd store has one image for
 * a name. A pull for another platform takes the name away from the image that is being saved.
 */
export interface Leases {
  /**
   * Leases a name until the returned object is disposed. Waits for leases for other purposes, in the order of the calls.
   */
  take(name: string, purpose: string, signal: AbortSignal): Promise<Disposable>;
  /** Leases a name exclusively. Returns undefined at once if the name is leased. */
  tryTake(name: string): Disposable | undefined;
}

interface Lease {
  purpose: string;
  holders: number;
  readonly waiting: { readonly purpose: string; readonly begin: () => void }[];
}

export function createLeases(): Leases {
  const leases = new Map<string, Lease>();

  const holdOn = (name: string, lease: Lease): Disposable => {
    const held = new DisposableStack();
    held.defer(() => {
      lease.holders -= 1;
      if (lease.holders === 0) pass(name, lease);
    });
    return held;
  };
  /** Passes a name to the first request that waits, and to the next ones with the same purpose. */
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
        return holdOn(name, lease);
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
      return holdOn(name, lease);
    },

    tryTake(name) {
      if (leases.has(name)) return undefined;
      const lease = { purpose: '', holders: 1, waiting: [] };
      leases.set(name, lease);
      return holdOn(name, lease);
    },
  };
}

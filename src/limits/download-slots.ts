import { detail } from '../errors/details.ts';
import type { ServiceError } from '../errors.ts';
import {
  type Acquisition,
  type CountingStore,
  LEASE_MS,
  type Lease,
  type LeaseLimits,
} from './counting-store.ts';
import type { Limit, LimitKind } from './limit.ts';
import { limitError } from './limit-error.ts';

export const DOWNLOADS = {
  name: 'downloads',
  description: 'Downloads at once, however many connections each has; null without a limit.',
  members: { limit: 'Downloads at once.', active: 'Those under way.' },
} as const satisfies LimitKind;

export const CONNECTIONS = {
  name: 'connections',
  description: 'Connections for each download; null without a limit.',
  members: { limit: 'Connections for one download.' },
} as const satisfies LimitKind;

export const SERVICE = {
  name: 'service',
  description: 'Downloads at once of all clients together; null without a limit.',
  members: { limit: 'Downloads at once.' },
} as const satisfies LimitKind;

/** Limits simultaneous downloads. All connections of one client to one archive are one download. */
export interface DownloadSlots {
  /** The limits that are set: {@link DOWNLOADS}, {@link CONNECTIONS}, and {@link SERVICE}. */
  readonly limits: readonly Limit[];
  /**
   * Joins a client's download of an archive, until the returned function is called.
   *
   * @throws ServiceError `too-many-connections`, `too-many-downloads` or `service-full`
   */
  take(client: string, archive: string): Promise<() => void>;
  /** Returns the number of downloads in progress of a client. */
  active(client: string): Promise<number>;
}

export interface SlotLimits extends LeaseLimits {
  /** Maximum connections to this process for one download, because each holds memory. 0 sets no limit. */
  readonly connections: number;
}

/** Milliseconds for Retry-After. The end of a download cannot be predicted, and a retry after this time is cheap. */
const TRY_AGAIN_MS = 30_000;

interface Slot {
  readonly lease: Lease;
  /** Undefined if the number of downloads is unlimited. */
  readonly acquisition: Promise<Acquisition> | undefined;
  connections: number;
}

/** @param holder names this process among those that share the store */
export function createDownloadSlots(
  store: CountingStore,
  { perClient, total, connections }: SlotLimits,
  holder: string,
): DownloadSlots {
  const limits = { perClient, total };
  const areLimited = perClient > 0 || total > 0;
  const slots = new Map<string, Slot>();
  let renewal: NodeJS.Timeout | undefined;

  const open = (key: string, lease: Lease): Slot => {
    const acquisition = areLimited ? store.acquire(lease, limits) : undefined;
    const slot = { lease, acquisition, connections: 0 };
    slots.set(key, slot);
    if (!areLimited) return slot;
    renewal ??= setInterval(() => store.renew([...slots.values()].map((held) => held.lease)), LEASE_MS / 3);
    renewal.unref();
    return slot;
  };
  const leave = (key: string, slot: Slot): void => {
    slot.connections -= 1;
    if (slot.connections > 0) return;
    slots.delete(key);
    if (!areLimited) return;
    store.release(slot.lease);
    if (slots.size > 0) return;
    clearInterval(renewal);
    renewal = undefined;
  };

  const active = (client: string): Promise<number> => store.active(client);
  return {
    limits: [
      ...(perClient > 0 ? [concurrency(DOWNLOADS, perClient, active)] : []),
      ...(connections > 0 ? [concurrency(CONNECTIONS, connections)] : []),
      ...(total > 0 ? [concurrency(SERVICE, total)] : []),
    ],
    active,
    async take(client, archive) {
      const key = `${client} ${archive}`;
      const slot = slots.get(key) ?? open(key, { client, archive, holder });
      if (connections > 0 && slot.connections >= connections) throw tooManyConnections(connections);
      slot.connections += 1;
      const acquisition = (await slot.acquisition) ?? 'granted';
      if (acquisition === 'granted') return () => leave(key, slot);
      leave(key, slot);
      throw refusal(acquisition, limits);
    },
  };
}

function concurrency(
  { name }: LimitKind,
  limit: number,
  active?: (client: string) => Promise<number>,
): Limit {
  return {
    name,
    policyHeader: () => `"${name}";q=${limit};qu="concurrent-requests"`,
    status: async (client) => ({ limit, ...(active && { active: await active(client) }) }),
  };
}

function tooManyConnections(connections: number): ServiceError {
  return limitError(
    'too-many-connections',
    { name: 'connections', limit: connections, freesIn: TRY_AGAIN_MS },
    detail('connections-exceeded', { limit: connections }),
    `Limit of ${connections} connections per download; use fewer`,
  );
}

function refusal(
  acquisition: 'client-full' | 'service-full',
  { perClient, total }: LeaseLimits,
): ServiceError {
  if (acquisition === 'client-full') {
    const downloads = perClient === 1 ? '1 download' : `${perClient} downloads`;
    return limitError(
      'too-many-downloads',
      { name: 'downloads', limit: perClient, freesIn: TRY_AGAIN_MS },
      detail('downloads-exceeded', { limit: perClient }),
      `Limit of ${downloads} at once; wait until one ends`,
    );
  }
  return limitError(
    'service-full',
    { name: 'service', limit: total, freesIn: TRY_AGAIN_MS },
    detail('service-exceeded', { limit: total }),
    'All download slots of this service are in use; try again soon',
  );
}

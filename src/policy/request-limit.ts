import type { CatalogueError } from '../errors.ts';
import type { Count, CountingStore } from './counting-store.ts';
import { formatDuration, limitError } from './limit-error.ts';

/** So many in a window of time. */
export interface Rate {
  readonly limit: number;
  /** Milliseconds. */
  readonly window: number;
}

/** How often a client may ask. */
export interface RequestLimit extends Rate {
  /** Counts a request. */
  count(client: string): Promise<Count>;
  /** Tells how many were counted. */
  read(client: string): Promise<Count>;
  /** The error of a request that is one too many. */
  refusal(resetsIn: number): CatalogueError;
}

export function createRequestLimit(store: CountingStore, { limit, window }: Rate): RequestLimit {
  const add = async (client: string, amount: number): Promise<Count> => {
    const [count = { value: amount, resetsIn: window }] = await store.add([
      { counter: `requests ${client}`, amount, window },
    ]);
    return count;
  };
  return {
    limit,
    window,
    count: (client) => add(client, 1),
    read: (client) => add(client, 0),
    refusal(resetsIn) {
      const rate = `${limit} requests in ${formatDuration(window)}`;
      const wait = formatDuration(resetsIn);
      return limitError(
        'too-many-requests',
        { name: 'requests', limit, freesIn: resetsIn },
        `Your address has made more than ${rate} (RATE_LIMIT), misses included; it may go on in ${wait}.`,
        `More than ${rate}; go on in ${wait}`,
      );
    },
  };
}

import type { ServiceError } from '../errors.ts';
import type { Count, CountingStore } from './counting-store.ts';
import { formatDuration, limitError } from './limit-error.ts';

/** A maximum number per time window. */
export interface Rate {
  readonly limit: number;
  /** Milliseconds. */
  readonly window: number;
}

/** Limits the request rate of a client. */
export interface RequestLimit extends Rate {
  /** Counts a request. */
  count(client: string): Promise<Count>;
  /** Returns the number of counted requests. */
  read(client: string): Promise<Count>;
  /** Returns the error for a request above the limit. */
  refusal(resetsIn: number): ServiceError;
}

/** The counted requests, and the words that name their setting in errors. */
interface CountedRequests {
  readonly name: 'requests' | 'pages';
  readonly setting: string;
}

const REQUESTS: CountedRequests = { name: 'requests', setting: '(RATE_LIMIT), including failed requests' };
const PAGES: CountedRequests = { name: 'pages', setting: 'for pages (PAGE_RATE_LIMIT)' };

/** Limits the requests for downloads and the API. */
export function createRequestLimit(store: CountingStore, rate: Rate): RequestLimit {
  return createRateLimit(store, rate, REQUESTS);
}

/** Limits all other requests, such as those for pages, their assets, and problem pages. */
export function createPageLimit(store: CountingStore, rate: Rate): RequestLimit {
  return createRateLimit(store, rate, PAGES);
}

function createRateLimit(
  store: CountingStore,
  { limit, window }: Rate,
  { name, setting }: CountedRequests,
): RequestLimit {
  const add = async (client: string, amount: number): Promise<Count> => {
    const [count = { value: amount, resetsIn: window }] = await store.add([
      { counter: `${name} ${client}`, amount, window },
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
        { name, limit, freesIn: resetsIn },
        `Your address has made more than ${rate} ${setting}; it may go on in ${wait}.`,
        `More than ${rate}; go on in ${wait}`,
      );
    },
  };
}

import { detail } from '../errors/details.ts';
import type { ServiceError } from '../errors.ts';
import { formatDuration } from '../util/duration.ts';
import type { Count, CountingStore } from './counting-store.ts';
import type { Limit, LimitKind } from './limit.ts';
import { limitError } from './limit-error.ts';

/** A maximum number per time window; 0 sets no limit. */
export interface Rate {
  readonly limit: number;
  /** Milliseconds. */
  readonly window: number;
}

const MEMBERS = {
  limit: 'Requests in a window, including failed requests.',
  remaining: 'Requests left in the current window.',
  resetsInSeconds: 'Seconds until the next window.',
  windowSeconds: 'Seconds of a window.',
};

/** The counted requests, and the sentence of their error. */
interface RequestKind extends LimitKind {
  readonly members: typeof MEMBERS;
  readonly exceeded: 'requests-exceeded' | 'pages-exceeded';
}

export const REQUESTS = {
  name: 'requests',
  description: 'Requests for downloads and the API; null without a limit.',
  members: MEMBERS,
  exceeded: 'requests-exceeded',
} as const satisfies RequestKind;

export const PAGES = {
  name: 'pages',
  description: 'Requests for pages, their assets, and this endpoint; null without a limit.',
  members: MEMBERS,
  exceeded: 'pages-exceeded',
} as const satisfies RequestKind;

/** Limits the request rate of a client. */
export interface RequestLimit extends Limit<RequestKind> {
  readonly limit: number;
  /** Counts a request, or as many as a costly one stands for. */
  count(client: string, amount?: number): Promise<Count>;
  /** Returns the error for a request above the limit. */
  refusal(resetsIn: number): ServiceError;
}

/** @returns undefined if the rate sets no limit */
export function createRequestLimit(
  store: CountingStore,
  { limit, window }: Rate,
  { name, exceeded }: RequestKind,
): RequestLimit | undefined {
  if (limit === 0) return undefined;
  const add = async (client: string, amount: number): Promise<Count> => {
    const [count = { value: amount, resetsIn: window }] = await store.add([
      { counter: `${name} ${client}`, amount, window },
    ]);
    return count;
  };
  const windowSeconds = Math.ceil(window / 1000);
  return {
    name,
    limit,
    policyHeader: () => `"${name}";q=${limit};w=${windowSeconds}`,
    async status(client) {
      const { value, resetsIn } = await add(client, 0);
      return {
        limit,
        remaining: Math.max(limit - value, 0),
        resetsInSeconds: Math.ceil(resetsIn / 1000),
        windowSeconds,
      };
    },
    count: (client, amount = 1) => add(client, amount),
    refusal(resetsIn) {
      const rate = `${limit} requests in ${formatDuration(window)}`;
      const wait = formatDuration(resetsIn);
      return limitError(
        'too-many-requests',
        { name, limit, freesIn: resetsIn },
        detail(exceeded, { limit, window: { milliseconds: window }, wait: { milliseconds: resetsIn } }),
        `More than ${rate}; go on in ${wait}`,
      );
    },
  };
}

import type { MemoryCaches } from '../util/memory-caches.ts';
import { BANDWIDTH, type Bandwidth, createBandwidth } from './bandwidth.ts';
import { BYTES, type ByteQuota, createByteQuota } from './byte-quota.ts';
import type { CountingStore } from './counting-store.ts';
import {
  CONNECTIONS,
  createDownloadSlots,
  DOWNLOADS,
  type DownloadSlots,
  SERVICE,
} from './download-slots.ts';
import type { Limit } from './limit.ts';
import { createLoginBrake, type LoginBrake } from './login-brake.ts';
import { createRequestLimit, PAGES, type Rate, REQUESTS, type RequestLimit } from './request-limit.ts';

/** The kinds of limits, in the order in which RateLimit-Policy and the API state them. */
export const LIMIT_KINDS = [REQUESTS, PAGES, DOWNLOADS, CONNECTIONS, BYTES, BANDWIDTH, SERVICE] as const;

/** The limits of each client; a limit that is not set is undefined. */
export interface Limits {
  /** The limits that routes choose from by their `counts`. */
  readonly rates: {
    readonly requests: RequestLimit | undefined;
    /** Requests for pages and everything else that is neither a download nor the API. */
    readonly pages: RequestLimit | undefined;
  };
  readonly downloads: DownloadSlots;
  readonly bytes: ByteQuota | undefined;
  readonly bandwidth: Bandwidth | undefined;
  /** Refused credentials, per registry and client. */
  readonly logins: LoginBrake;
  /** All limits that are set, in the order of {@link LIMIT_KINDS}. */
  readonly list: readonly Limit[];
  /** Saves what is counted and closes the store. */
  close(): Promise<void>;
}

/** Each 0 sets no limit. */
export interface LimitOptions {
  readonly rateLimit: Rate;
  readonly pageRateLimit: Rate;
  /** Maximum simultaneous downloads of a client. */
  readonly downloadsPerIp: number;
  /** Maximum connections of a client for one download. */
  readonly connectionsPerDownload: number;
  /** Maximum simultaneous downloads of all clients. */
  readonly maxDownloads: number;
  /** Bytes. */
  readonly dailyBytes: number;
  /** Bytes a second. */
  readonly bandwidthPerIp: number;
}

export interface LimitParts {
  /** A store that never fails. */
  readonly store: CountingStore;
  /** A name of this process among those that share the store. */
  readonly holder: string;
  /** A monotonic clock in milliseconds. */
  readonly uptime: () => number;
  /** The list of in-memory caches. */
  readonly caches: MemoryCaches;
}

export function createLimits(options: LimitOptions, { store, holder, uptime, caches }: LimitParts): Limits {
  const {
    rateLimit,
    pageRateLimit,
    downloadsPerIp: perClient,
    connectionsPerDownload: connections,
    maxDownloads: total,
    dailyBytes,
    bandwidthPerIp,
  } = options;
  const rates = {
    requests: createRequestLimit(store, rateLimit, REQUESTS),
    pages: createRequestLimit(store, pageRateLimit, PAGES),
  };
  const downloads = createDownloadSlots(store, { perClient, total, connections }, holder);
  const bytes = dailyBytes === 0 ? undefined : createByteQuota(store, dailyBytes);
  const bandwidth = bandwidthPerIp === 0 ? undefined : createBandwidth(bandwidthPerIp, uptime);
  const set = [...Object.values(rates), ...downloads.limits, bytes, bandwidth].filter(
    (limit) => limit !== undefined,
  );
  return {
    ...{ rates, downloads, bytes, bandwidth },
    logins: createLoginBrake(store, caches, uptime),
    list: LIMIT_KINDS.flatMap(({ name }) => set.find((limit) => limit.name === name) ?? []),
    async close() {
      await bytes?.close();
      store.close();
    },
  };
}

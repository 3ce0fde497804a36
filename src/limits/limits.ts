import { type Bandwidth, createBandwidth } from './bandwidth.ts';
import { type ByteQuota, createByteQuota } from './byte-quota.ts';
import type { CountingStore } from './counting-store.ts';
import { createDownloadSlots, type DownloadSlots } from './download-slots.ts';
import { createPageLimit, createRequestLimit, type Rate, type RequestLimit } from './request-limit.ts';

/** The limits of each client; a limit that is not set is undefined. */
export interface Limits {
  readonly requests: RequestLimit | undefined;
  /** Requests for pages and everything else that is neither a download nor the API. */
  readonly pages: RequestLimit | undefined;
  readonly downloads: DownloadSlots;
  readonly bytes: ByteQuota | undefined;
  readonly bandwidth: Bandwidth | undefined;
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
}

export function createLimits(options: LimitOptions, { store, holder, uptime }: LimitParts): Limits {
  const {
    rateLimit,
    pageRateLimit,
    downloadsPerIp: perClient,
    connectionsPerDownload: connections,
    maxDownloads: total,
    dailyBytes,
    bandwidthPerIp,
  } = options;
  const bytes = dailyBytes === 0 ? undefined : createByteQuota(store, dailyBytes);
  return {
    requests: rateLimit.limit === 0 ? undefined : createRequestLimit(store, rateLimit),
    pages: pageRateLimit.limit === 0 ? undefined : createPageLimit(store, pageRateLimit),
    downloads: createDownloadSlots(store, { perClient, total, connections }, holder),
    bytes,
    bandwidth: bandwidthPerIp === 0 ? undefined : createBandwidth(bandwidthPerIp, uptime),
    async close() {
      await bytes?.close();
      store.close();
    },
  };
}

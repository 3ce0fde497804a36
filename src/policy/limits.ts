import { type Bandwidth, createBandwidth } from './bandwidth.ts';
import { type ByteQuota, createByteQuota } from './byte-quota.ts';
import type { CountingStore } from './counting-store.ts';
import { createDownloadSlots, type DownloadSlots } from './download-slots.ts';
import { createPageLimit, createRequestLimit, type Rate, type RequestLimit } from './request-limit.ts';

/** What a client may have of the service; a limit that is not set is undefined. */
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
  /** Downloads of a client at once. */
  readonly downloadsPerIp: number;
  /** Connections for one download of a client. */
  readonly connectionsPerDownload: number;
  /** Downloads of all clients at once. */
  readonly maxDownloads: number;
  /** Bytes. */
  readonly dailyBytes: number;
  /** Bytes a second. */
  readonly bandwidthPerIp: number;
}

export interface LimitParts {
  /** One that does not fail. */
  readonly store: CountingStore;
  /** A name of this process among those that share the store. */
  readonly holder: string;
  /** Milliseconds that never go back. */
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

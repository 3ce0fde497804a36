import {
  type Aggregator,
  Counter,
  collectDefaultMetrics,
  Gauge,
  type GaugeConfiguration,
  Histogram,
  type MetricObjectWithValues,
  type MetricValue,
  Registry,
} from 'prom-client';

/** The metrics, for Prometheus. */
export interface Metrics {
  readonly http: {
    answered(route: string, method: string, status: number): void;
    refused(code: string, limit: string | undefined): void;
    download(): TransferMetrics;
    pull(): TransferMetrics;
  };
  /** Counts a response from an upstream host or, without a status, a failure to respond. */
  upstream(host: string, status: number | undefined, header: (name: string) => string | undefined): void;
  /** Counts bytes that were requested from the cache, as hits or misses. */
  cache(result: 'hit' | 'miss', bytes: number): void;
  /** Returns all current values, to sum them up with those of other processes. */
  snapshot(): Promise<MetricsSnapshot>;
  /** @see https://prometheus.io/docs/instrumenting/exposition_formats */
  text(): Promise<string>;
  readonly contentType: string;
}

/** One transfer in progress. */
export interface TransferMetrics {
  firstByte(seconds: number): void;
  sent(bytes: number): void;
  end(result: string, seconds: number): void;
}

/** Metrics with their values and the way to aggregate each. They can be cloned between processes. */
export type MetricsSnapshot = readonly MetricObjectWithValues<MetricValue<string>>[];

export interface MetricsOptions {
  readonly version: string;
  /** Hosts that may be label values, such as those in the settings. All others share one label. */
  readonly isKnownRegistry: (host: string) => boolean;
  /** The expiry of the certificate in use, in milliseconds since the epoch; undefined without one. */
  readonly certificateEnd: () => number | undefined;
  /** True if the last attempt to get the next certificate has failed. */
  readonly isCertificateFailing: () => boolean;
  /** True if the Redis that replicas share answers; absent without one. */
  readonly isRedisConnected?: () => boolean;
  /** The current use of each in-memory cache. */
  readonly cacheUses?: () => readonly {
    readonly name: string;
    readonly bytes: number;
    readonly limit: number;
  }[];
  /** Free bytes on the disk of the cache; undefined if unknown. */
  readonly freeBytes?: () => Promise<number | undefined>;
  /** A monotonic clock, in milliseconds. */
  readonly uptime?: () => number;
}

/** Metrics of Node.js that are useless as a sum or an average: the worst process matters. */
const AGGREGATORS: Readonly<Record<string, Aggregator>> = {
  process_start_time_seconds: 'min',
  process_max_fds: 'min',
  nodejs_eventloop_lag_seconds: 'max',
  nodejs_eventloop_lag_mean_seconds: 'max',
  nodejs_eventloop_lag_stddev_seconds: 'max',
  nodejs_eventloop_lag_p50_seconds: 'max',
  nodejs_eventloop_lag_p90_seconds: 'max',
  nodejs_eventloop_lag_p99_seconds: 'max',
};

const DOCKER_HUB = 'registry-1.docker.io';
const DOCKER_HUB_WINDOW_S = 21_600;
const FIRST_BYTE_BUCKETS_S = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const TOTAL_BUCKETS_S = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400];

/** Creates the metrics of the service, and those of Node.js: event-loop delay, memory, CPU, and descriptors. */
export function createMetrics(options: MetricsOptions): Metrics {
  const {
    version,
    isKnownRegistry,
    isRedisConnected,
    freeBytes,
    cacheUses = () => [],
    uptime = () => performance.now(),
    ...certificate
  } = options;
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  for (const kind of ['handles', 'requests', 'resources']) {
    // Gauges with the name of a counter, which Prometheus' own check objects to.
    registry.removeSingleMetric(`nodejs_active_${kind}_total`);
  }
  new Gauge({
    name: 'dockerproxy_build_info',
    help: 'Always 1; the version is a label.',
    labelNames: ['version'],
    aggregator: 'first',
    registers,
  }).set({ version }, 1);

  const requests = new Counter({
    name: 'dockerproxy_http_requests_total',
    help: 'Requests that are over, by route, method and status; 499: the client went before there was an answer.',
    labelNames: ['route', 'method', 'status'],
    registers,
  });
  const refusals = new Counter({
    name: 'dockerproxy_refusals_total',
    help: 'Requests that were refused or failed, by the code of the error and, where it was one, the limit.',
    labelNames: ['code', 'limit'],
    registers,
  });
  // Prometheus does not count the first event of a new series as growth. Starting at 0 makes a single internal error
  // visible.
  refusals.inc({ code: 'internal-error', limit: '' }, 0);
  const download = transferMetrics(registers, {
    active: ['dockerproxy_downloads_active', 'Downloads whose bytes are flowing.'],
    bytes: ['dockerproxy_download_bytes_total', 'Bytes of archives that were given to clients.'],
    firstByte: [
      'dockerproxy_download_first_byte_seconds',
      'Time from the request to the first byte of the archive.',
    ],
    total: [
      'dockerproxy_download_seconds',
      'Time from the request to its end: ok, left by the client, or failed.',
    ],
  });
  const pull = transferMetrics(registers, {
    active: ['dockerproxy_blob_pulls_active', 'Blobs whose bytes are flowing through the registry API.'],
    bytes: ['dockerproxy_blob_pull_bytes_total', 'Bytes of blobs that the registry API gave to clients.'],
    firstByte: [
      'dockerproxy_blob_pull_first_byte_seconds',
      'Time from the request to the first byte of the blob.',
    ],
    total: [
      'dockerproxy_blob_pull_seconds',
      'Time from the request for a blob to its end: ok, left by the client, or failed.',
    ],
  });
  const reads = new Counter({
    name: 'dockerproxy_cache_reads_total',
    help: 'Blobs, or ranges of them, that were asked of the cache: a miss comes from the registry.',
    labelNames: ['result'],
    registers,
  });
  const readBytes = new Counter({
    name: 'dockerproxy_cache_read_bytes_total',
    help: 'Bytes that were asked of the cache.',
    labelNames: ['result'],
    registers,
  });
  for (const [name, help, key] of [
    ['dockerproxy_memory_cache_bytes', 'Bytes in each in-memory cache, including keys.', 'bytes'],
    ['dockerproxy_memory_cache_limit_bytes', 'Maximum bytes in each in-memory cache.', 'limit'],
  ] as const) {
    new Gauge({
      ...{ name, help, labelNames: ['cache'], registers },
      collect() {
        for (const use of cacheUses()) this.set({ cache: use.name }, use[key]);
      },
    });
  }
  if (freeBytes !== undefined) {
    new Gauge({
      name: 'dockerproxy_cache_free_bytes',
      help: 'Bytes that the disk of the cache has left.',
      aggregator: 'min',
      registers,
      async collect() {
        const bytes = await freeBytes();
        this.remove();
        if (bytes !== undefined) this.set(bytes);
      },
    });
  }
  const upstream = new Counter({
    name: 'dockerproxy_upstream_requests_total',
    help: 'Requests to registries and the hosts that they redirect to, by status; none means no response.',
    labelNames: ['registry', 'status'],
    registers,
  });
  const pulls = {
    limit: passingGauge(
      {
        name: 'dockerproxy_dockerhub_pulls_limit',
        help: 'Pulls that Docker Hub allows this address, or account, in a window; none: it has not told in that time.',
        aggregator: 'max',
        registers,
      },
      uptime,
    ),
    remaining: passingGauge(
      {
        name: 'dockerproxy_dockerhub_pulls_remaining',
        help: 'Pulls that Docker Hub has left for this address, or account, in this window; none: it has not told in that time.',
        aggregator: 'min',
        registers,
      },
      uptime,
    ),
  };
  new Gauge({
    name: 'dockerproxy_certificate_expiry_timestamp_seconds',
    help: 'When the certificate in use ends, in seconds since the epoch.',
    aggregator: 'min',
    registers,
    collect() {
      const end = certificate.certificateEnd();
      this.remove();
      if (end !== undefined) this.set(end / 1000);
    },
  });
  new Gauge({
    name: 'dockerproxy_certificate_failing',
    help: 'True if (1) or not (0) the last attempt to get the next certificate has failed.',
    aggregator: 'max',
    registers,
    collect() {
      this.set(certificate.isCertificateFailing() ? 1 : 0);
    },
  });
  if (isRedisConnected !== undefined) {
    new Gauge({
      name: 'dockerproxy_redis_connected',
      help: 'True if the Redis that replicas share accepts writes of the limits (1) or not (0).',
      aggregator: 'min',
      registers,
      collect() {
        this.set(isRedisConnected() ? 1 : 0);
      },
    });
  }

  return {
    http: {
      answered: (route, method, status) => requests.inc({ route, method, status }),
      refused: (code, limit = '') => refusals.inc({ code, limit }),
      download,
      pull,
    },
    upstream(host, status, header) {
      upstream.inc({ registry: isKnownRegistry(host) ? host : 'other', status: status ?? 'none' });
      if (host !== DOCKER_HUB) return;
      for (const name of ['limit', 'remaining'] as const) {
        // https://docs.docker.com/docker-hub/usage/pulls: `76;w=21600`
        const [, count, window = DOCKER_HUB_WINDOW_S] =
          /^(\d+)(?:;w=(\d+))?/.exec(header(`ratelimit-${name}`) ?? '') ?? [];
        if (count !== undefined) pulls[name](Number(count), Number(window) * 1000);
      }
    },
    cache(result, bytes) {
      reads.inc({ result });
      readBytes.inc({ result }, bytes);
    },
    async snapshot() {
      const metrics = await registry.getMetricsAsJSON();
      return metrics.map((metric) => ({
        ...metric,
        aggregator: AGGREGATORS[metric.name] ?? metric.aggregator,
      }));
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

/**
 * A gauge whose value expires. A gauge without labels starts at 0 and would keep its last value, so that one process
 * without news for hours would speak for all.
 *
 * @returns sets the value for this number of milliseconds
 */
function passingGauge(
  configuration: GaugeConfiguration<string>,
  uptime: () => number,
): (value: number, lifetime: number) => void {
  let end = Number.NEGATIVE_INFINITY;
  const gauge = new Gauge({
    ...configuration,
    collect() {
      if (uptime() >= end) this.remove();
    },
  });
  return (value, lifetime) => {
    end = uptime() + lifetime;
    gauge.set(value);
  };
}

/** The name and the help of each metric of one kind of transfer. */
type TransferNames = Readonly<Record<'active' | 'bytes' | 'firstByte' | 'total', readonly [string, string]>>;

/** Creates the metrics of one kind of transfer. @returns called when a transfer begins */
function transferMetrics(registers: Registry[], names: TransferNames): () => TransferMetrics {
  const described = ([name, help]: readonly [string, string]) => ({ name, help, registers });
  const active = new Gauge(described(names.active));
  let sent = 0;
  new Counter({
    ...described(names.bytes),
    // Incrementing a plain number for each chunk is cheaper than updating a metric.
    collect() {
      this.reset();
      this.inc(sent);
    },
  });
  const firstByte = new Histogram({ ...described(names.firstByte), buckets: FIRST_BYTE_BUCKETS_S });
  const total = new Histogram({
    ...described(names.total),
    labelNames: ['result'],
    buckets: TOTAL_BUCKETS_S,
  });
  return () => {
    active.inc();
    return {
      firstByte: (seconds) => firstByte.observe(seconds),
      sent: (bytes) => {
        sent += bytes;
      },
      end(result, seconds) {
        active.dec();
        total.observe({ result }, seconds);
      },
    };
  };
}

import { randomUUID } from 'node:crypto';
import { Server as HttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { FastifyInstance } from 'fastify';
import { connectionsWithin } from '../config/descriptors.ts';
import { reloadConfig } from '../config/reload.ts';
import type { Config } from '../config/schema.ts';
import { isWildcard } from '../config/tls.ts';
import { createChecksums } from '../download/checksums.ts';
import type { ConnectionLimits } from '../http/listener/connections.ts';
import { createDrain } from '../http/listener/drain.ts';
import { type ListenAt, listenAt } from '../http/listener/listen-at.ts';
import { createMetricsServer } from '../http/listener/metrics-server.ts';
import { createRedirectServer } from '../http/listener/redirect-server.ts';
import { createServer, type ServerOptions } from '../http/server.ts';
import { createLimits } from '../limits/limits.ts';
import { createGuard } from '../net/guard.ts';
import { createHttpClient } from '../net/http-client.ts';
import { onlyRegistry } from '../oci/name-pattern.ts';
import type { Redis } from '../redis/redis.ts';
import { createRepositorySearch, type RepositorySearch } from '../registry/hub-search.ts';
import { createTagDescriber, type DescribeTags } from '../registry/hub-tags.ts';
import type { PassedSockets } from '../systemd/sockets.ts';
import { createMetrics, type MetricsSnapshot } from '../telemetry/metrics.ts';
import { brieflyRemembered, createReadiness } from '../telemetry/readiness.ts';
import { secureContextOptions } from '../tls/secure-context.ts';
import { formatDuration } from '../util/duration.ts';
import { createGarbageCollector, freeStartupMemory } from '../util/garbage-collector.ts';
import { cacheShareFor, createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';
import { openMemoryGauges } from '../util/memory-gauges.ts';
import { ownAddresses } from '../util/own-addresses.ts';
import { type Access, createAccess } from './access.ts';
import { freeBytesOf } from './cache-folder.ts';
import type { Certificates } from './certificates.ts';
import { openCountingStore } from './counting-stores.ts';
import { type Environment, proxiesOf } from './environment.ts';
import { type Images, openImages } from './images.ts';
import { knownRegistries } from './known-registries.ts';
import { createServiceInfo } from './service-info.ts';

/** The whole application: a service in one process. */
export interface App {
  /**
   * Begins to serve, and to look after the certificate.
   *
   * @param sockets to listen on in place of the addresses of the settings
   * @returns if it serves, as a URL
   */
  listen(sockets?: PassedSockets): Promise<string>;
  /** Stops all parts. Downloads in progress may finish first, until the timeout aborts them. */
  close(): Promise<void>;
  /**
   * Applies the settings that may change at runtime, and reads the files of lists again.
   *
   * @returns keys of the settings that have changed and need a restart
   * @throws ConfigError if a list has a mistake; then nothing changes
   */
  reload(fresh: Config): readonly string[];
  /** The current values of all metrics. */
  measured(): Promise<MetricsSnapshot>;
}

/** The parts that the process or its primary provides to an application. */
export interface AppPorts {
  readonly certificates: Certificates;
  /** The parts that replicas share. */
  readonly redis?: Redis | undefined;
  /** Receives the lines that state the listening addresses; the log if absent. */
  readonly announce?: ((line: string) => void) | undefined;
  /** Number of processes that share the machine's memory; 1 if absent. */
  readonly workers?: number;
}

/** Milliseconds between samples. Memory can grow by tens of megabytes meanwhile; load shedding allows for that. */
const PRESSURE_INTERVAL_MS = 250;
/**
 * Connections that the kernel keeps until the process accepts them. libuv accepts one in each turn of the event loop.
 * With Node.js's 511, a busy process would lose connections, and their clients would try again after 1, 3, and 7
 * seconds. The kernel reduces this number to net.core.somaxconn.
 */
const BACKLOG = 4096;

/**
 * Creates the application from the settings.
 *
 * @throws ConfigError if a file that the settings name cannot be read
 */
export async function createApp(
  config: Config,
  environment: Environment,
  { certificates, redis, announce, workers = 1 }: AppPorts,
): Promise<App> {
  const { logger } = environment;
  let current = config;
  const access = createAccess(config, ownAddresses);
  const { allowlist, clients } = access;
  const { provider, challenge, alpn } = certificates;
  const ownMemory = environment.memoryLimit / workers;
  const caches = createMemoryCaches(() => performance.now(), cacheShareFor(ownMemory));
  const metrics = createMetrics({
    cacheUses: caches.uses,
    version: environment.version,
    isKnownRegistry: knownRegistries(config, access),
    certificateEnd: () => provider.status().notAfter,
    isCertificateFailing: () => provider.status().lastFailure !== undefined,
    ...(redis && { isRedisConnected: () => redis.isConnected }),
    ...(config.cacheSize > 0 && { freeBytes: () => freeBytesOf(config.cacheDir).catch(() => undefined) }),
  });
  const images = await openImages(config, environment, access, {
    ...{ meter: metrics, redis, caches },
    memory: ownMemory,
  });
  const search = createSearch(config, environment, caches);
  let isStopping = false;
  const readiness = createReadiness({
    // Report not ready while draining, so that the load balancer routes new requests elsewhere.
    service: () => ({ isReady: !isStopping, details: { state: isStopping ? 'stopping' : 'serving' } }),
    certificate: certificates.check,
    ...Object.fromEntries(
      Object.entries(images.checks).map(([name, check]) => [
        name,
        brieflyRemembered(check, () => performance.now()),
      ]),
    ),
    // The service works without Redis, so an outage of Redis does not make it unready.
    ...(redis && { redis: () => ({ isReady: true, details: { connected: redis.isConnected } }) }),
  });
  const connections = connectionLimits(config, environment.descriptorLimit);
  const memory = openMemoryGauges(workers);
  const drain = createDrain();

  const limits = createLimits(config, {
    store: openCountingStore(config, logger, redis, { workers, caches }),
    holder: randomUUID(),
    uptime: () => performance.now(),
    caches,
  });

  const server = await createServer({
    logger,
    info: createServiceInfo(() => current, access.patterns, environment.version),
    tls: provider.certificate && {
      context: secureContextOptions(provider.certificate),
      alpn,
      isTrusted: config.tls === 'files' || (config.tls === 'acme' && !config.acmeStaging),
    },
    readiness,
    trustProxy: config.trustProxy,
    clients,
    limits,
    contentsOnDemand: config.contentsOnDemand,
    files: images.files,
    connections,
    pressure: {
      maxDelay: config.maxEventLoopDelay,
      ...{ memory, collectGarbage: createGarbageCollector(), interval: PRESSURE_INTERVAL_MS },
    },
    caches,
    drain,
    source: images.source,
    addresses: () => ({ replicas: current.replicas, domains: urlHosts(current.domains) }),
    checksums: createChecksums(config.cacheSize === 0 ? undefined : config.cacheDir, caches),
    catalogue: images.catalogue,
    referrers: images.referrers,
    acceptsCredentials: config.clientCredentials === 'on',
    registryApi: registryApiOf(config, images, access, () => urlHosts(current.domains)),
    search: search?.find,
    describeTags: search?.describeTags,
    allowlist,
    meter: metrics.http,
  });
  server.addHook('onClose', async () => {
    await limits.close();
    await images.close();
    await search?.close();
    for (const gauge of memory) gauge.close();
  });
  const redirect =
    provider.certificate &&
    (await createRedirectServer({
      ...{ logger, connections, drain, readiness, challenge, domains: urlHosts(config.domains) },
      httpsPort: () => (server.server.address() as AddressInfo).port,
    }));
  const metricsServer = createMetricsServer(metrics, logger);
  const { port, httpsPort, metricsHost, metricsPort } = config;
  const host = listenHost(config);
  /**
   * Fastify logs its addresses regardless of its options. Suppress that log if the addresses are announced elsewhere.
   */
  const listen = async (app: FastifyInstance, at: ListenAt, text: (address: string) => string) => {
    const { level } = logger;
    if (announce !== undefined) logger.level = 'warn';
    const listenTextResolver = (address: string): string => {
      const line = text(address);
      announce?.(line);
      return line;
    };
    return app.listen({ ...at, backlog: BACKLOG, listenTextResolver }).finally(() => {
      logger.level = level;
    });
  };
  return {
    async listen({ http, https, metrics: metricsSocket } = {}) {
      const url = await listen(
        server,
        redirect ? listenAt(host, httpsPort, https) : listenAt(host, port, http),
        (address) => `DockerProxy ${environment.version} is listening on ${address}`,
      );
      if (redirect)
        await listen(redirect, listenAt(host, port, http), (address) => `${address} redirects to HTTPS`);
      if (metricsPort !== undefined || metricsSocket !== undefined) {
        await metricsServer.listen(listenAt(metricsHost, metricsPort ?? 0, metricsSocket));
      }
      provider.start((certificate) => {
        if (server.server instanceof HttpsServer) {
          server.server.setSecureContext(secureContextOptions(certificate));
        }
      });
      freeStartupMemory(() => drain.count() === 0);
      return url;
    },
    async close() {
      isStopping = true;
      const underWay = drain.count();
      if (underWay > 0) {
        const time = formatDuration(config.drain);
        logger.info(
          { count: underWay },
          `Stopping: waiting up to ${time} for downloads in flight: ${underWay}`,
        );
      }
      const timer = setTimeout(() => {
        const count = drain.end();
        logger.warn({ count }, `Aborting the downloads that exceed the drain time: ${count}`);
      }, config.drain);
      await Promise.all([provider.close(), redirect?.close(), server.close()]);
      await drain.settled();
      clearTimeout(timer);
      await metricsServer.close();
    },
    reload(loaded) {
      const { config: fresh, needRestart } = reloadConfig(current, loaded);
      access.reload(fresh);
      current = fresh;
      logger.level = fresh.logLevel;
      return needRestart;
    },
    measured: () => metrics.snapshot(),
  };
}

/** All addresses are those of IPv6 and IPv4, or of IPv4 alone on a machine without IPv6. */
function listenHost({ host }: Config): string {
  const hasIpv6 = Object.values(networkInterfaces()).some((addresses) =>
    addresses?.some(({ family }) => family === 'IPv6'),
  );
  return host === '::' && !hasIpv6 ? '0.0.0.0' : host;
}

/** The operator chose this address, and it allows no other address. Therefore, it has its own guard and connections. */
function createSearch(
  { searchUrl: url }: Config,
  environment: Environment,
  caches: MemoryCaches,
):
  | { readonly find: RepositorySearch; readonly describeTags: DescribeTags; close(): Promise<void> }
  | undefined {
  if (url === undefined) return undefined;
  const userAgent = `DockerProxy/${environment.version}`;
  const findProxy = proxiesOf(environment);
  const http = createHttpClient({ guard: createGuard([url.origin]), userAgent, findProxy, caches });
  const hub = { http, url, now: () => performance.now(), caches };
  return {
    find: createRepositorySearch(hub),
    describeTags: createTagDescriber(hub),
    close: () => http.close(),
  };
}

function connectionLimits(config: Config, descriptorLimit: number | undefined): ConnectionLimits {
  const { connectionsPerClient, minClientSpeed, minClientSpeedWindow } = config;
  return {
    maxConnections: connectionsWithin(config, descriptorLimit),
    connectionsPerClient,
    exempt: config.trustProxy,
    slowestClient: { bytesPerSecond: minClientSpeed, patience: minClientSpeedWindow },
  };
}

/** The registry API, which an engine cannot serve: it has images in another form than their registries. */
function registryApiOf(
  { registryApi, registryNames, defaultPlatform }: Config,
  { source, pulls }: Pick<Images, 'source' | 'pulls'>,
  { patterns }: Access,
  domains: () => readonly string[],
): ServerOptions['registryApi'] {
  if (!source.traits.isReproducible || registryApi === 'off') return undefined;
  const names = new Map(registryNames.map(({ name, registry }) => [name, registry]));
  return {
    ...{ pulls, defaultPlatform },
    names: () => ({ names, own: new Set(domains()) }),
    loginRegistry: () => onlyRegistry(patterns().allow) ?? 'docker.io',
  };
}

/** The hosts of URLs: IPv6 addresses are in brackets, and wildcards name no host. */
function urlHosts(domains: readonly string[]): readonly string[] {
  return domains
    .filter((domain) => !isWildcard(domain))
    .map((domain) => (domain.includes(':') ? `[${domain}]` : domain));
}

import { createCertificates } from '../app/certificates.ts';
import { openLocalCountingStore } from '../app/counting-stores.ts';
import type { Environment } from '../app/environment.ts';
import type { Service } from '../app/service.ts';
import { openSharedRedis, startWith } from '../app/shared-redis.ts';
import { readLists } from '../config/lists.ts';
import { reloadConfig, settledSettings } from '../config/reload.ts';
import type { Config } from '../config/schema.ts';
import { readTrustRules } from '../config/trust-rules.ts';
import { listenAt } from '../http/listener/listen-at.ts';
import { createMetricsServer, type MetricsServer } from '../http/listener/metrics-server.ts';
import type { PassedSockets } from '../systemd/sockets.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { createMetricsSum } from '../telemetry/metrics-sum.ts';
import { createWorkerMetrics } from '../telemetry/worker-metrics.ts';
import type { Certificate } from '../tls/certificate.ts';
import { freeStartupMemory } from '../util/garbage-collector.ts';
import type { WorkerProcess } from './peers.ts';
import { createWorkerPool } from './worker-pool.ts';

export interface PrimaryOptions {
  /** The number of workers. */
  readonly workers: number;
  readonly sockets: PassedSockets;
  readonly fork: () => WorkerProcess;
  /** The number of random bytes in the secret. */
  readonly randomBytes: (size: number) => Buffer;
}

/** Milliseconds after the time for downloads until the primary kills a worker that has not ended. */
const GRACE_MS = 5_000;
const TICKET_KEYS_BYTES = 48;

/**
 * Does the shared work of all workers once: orders the certificate, serves the metrics, and replaces workers that end.
 * It handles no requests. node:cluster opens the listening sockets here, and each worker accepts connections by itself.
 *
 * `listen` throws StartError if no worker can start.
 *
 * @throws ConfigError if a file that the settings name cannot be read
 */
export async function createPrimary(
  config: Config,
  environment: Environment,
  { workers, sockets, fork, randomBytes }: PrimaryOptions,
): Promise<Service> {
  const { logger, version } = environment;
  const redis = await openSharedRedis(config, logger);
  const { provider, check } = await startWith(redis, () => createCertificates(config, environment, redis));
  // One process creates the file. If several create it at once, SQLite does not wait in one of them, which would count
  // alone for a while.
  openLocalCountingStore(config, logger, { workers }).close();
  let current = config;
  /** The ticket keys, so that each worker can resume the TLS sessions of all others. */
  const withTicketKeys = (one: Certificate): Certificate => ({
    ...one,
    ticketKeys: randomBytes(TICKET_KEYS_BYTES),
  });
  let certificate = provider.certificate && withTicketKeys(provider.certificate);

  const own = createMetrics({
    version,
    isKnownRegistry: () => false,
    certificateEnd: () => provider.status().notAfter,
    isCertificateFailing: () => provider.status().lastFailure !== undefined,
    ...(redis && { isRedisConnected: () => redis.isConnected }),
  });
  const sum = createMetricsSum();
  const workerMetrics = createWorkerMetrics(() => pool.serving());
  const pool = createWorkerPool({
    random: Math.random,
    ...{ size: workers, fork, logger, uptime: () => performance.now() },
    part: () => ({
      type: 'prepare',
      part: { workers, settings: settledSettings(config), sockets, certificate },
    }),
    answer: async () => ({ type: 'standing', check: await check() }),
    onLost: () => workerMetrics.lost(),
    onEnd: (last) => sum.retire(last),
  });
  const metricsServer = createMetricsServer(
    {
      contentType: own.contentType,
      text: async () => {
        await pool.measure();
        const here = [await own.snapshot(), await workerMetrics.snapshot()];
        // Read both at the same moment. Otherwise, a worker that ends in between would count twice or not at all.
        return sum.text([...here, ...pool.snapshots()]);
      },
    },
    logger,
  );

  return {
    async listen() {
      await listenForMetrics(metricsServer, config, sockets.metrics);
      const { url, lines } = await pool.start();
      logger.info(`${workers} workers serve`);
      for (const line of lines) logger.info(line);
      provider.start((next) => {
        certificate = withTicketKeys(next);
        pool.tell({ type: 'certificate', certificate });
      });
      freeStartupMemory();
      return url;
    },
    isServing: () => pool.serving() > 0,
    reload(loaded) {
      const { config: fresh, needRestart } = reloadConfig(current, loaded);
      readLists(fresh);
      readTrustRules(fresh);
      current = fresh;
      logger.level = fresh.logLevel;
      pool.tell({ type: 'reload' });
      return needRestart;
    },
    reloadCertificate: () => provider.reload(),
    async close() {
      const [endedWell] = await Promise.all([pool.stop(config.drain + GRACE_MS), provider.close()]);
      await metricsServer.close();
      await redis?.close();
      if (!endedWell) throw new Error('Not all workers have ended well');
    },
    kill: () => pool.kill(),
  };
}

async function listenForMetrics(
  server: MetricsServer,
  { metricsHost, metricsPort }: Config,
  socket: number | undefined,
): Promise<void> {
  if (metricsPort === undefined && socket === undefined) return;
  await server.listen(listenAt(metricsHost, metricsPort ?? 0, socket));
}

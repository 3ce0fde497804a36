import { type App, createApp } from '../app/app.ts';
import { followCertificates } from '../app/certificates.ts';
import type { Environment } from '../app/environment.ts';
import { openSharedRedis } from '../app/shared-redis.ts';
import { ConfigError } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import type { Redis } from '../redis/redis.ts';
import type { ReadinessCheck } from '../telemetry/readiness.ts';
import { createCertificateFollower } from './certificate-follower.ts';
import type { Peer, StartFailure, ToPrimary, ToWorker, WorkerPart } from './messages.ts';

/** One of several processes that serve together. */
export interface WorkerService {
  /** Resolves once it serves. Resolves with the reason if it cannot; the primary already knows that. */
  readonly started: Promise<unknown>;
  /** Accepts no more connections. Resolves once the current ones are closed. */
  close(): Promise<void>;
}

export interface WorkerOptions {
  readonly primary: Peer<ToWorker, ToPrimary>;
  readonly config: Config;
  readonly environment: Environment;
  /** Reads the settings again. */
  readonly load: () => Config;
  /** Explains to the operator why it cannot listen. */
  readonly explain: (error: unknown) => string;
  /** Called when the service stops or the primary has ended, so that the worker closes and exits. */
  readonly onStop: () => void;
}

/** Milliseconds that a worker waits for an answer from the primary. */
const PATIENCE_MS = 2_000;

/**
 * Serves requests on the sockets of the primary. The primary does the rest: the certificate, metrics, and the service
 * manager.
 */
export function startWorker(options: WorkerOptions): WorkerService {
  const { primary, config, environment, load, explain, onStop } = options;
  const { logger } = environment;
  const started = Promise.withResolvers<unknown>();
  const invited = Promise.withResolvers<void>();
  const follower = Promise.withResolvers<ReturnType<typeof createCertificateFollower>>();
  let asked: PromiseWithResolvers<ReadinessCheck> | undefined;
  let app: App | undefined;
  let redis: Redis | undefined;

  /** Only the primary knows the status of the certificate. */
  const checkCertificate = async (): Promise<ReadinessCheck> => {
    if (asked === undefined) {
      const question = Promise.withResolvers<ReadinessCheck>();
      const timer = setTimeout(
        () => question.reject(new Error('the primary process does not answer')),
        PATIENCE_MS,
      );
      asked = question;
      const settle = (): void => {
        clearTimeout(timer);
        asked = undefined;
      };
      question.promise.then(settle, settle);
      primary.send({ type: 'check-certificate' });
    }
    return asked.promise;
  };
  const fail = async (error: unknown): Promise<void> => {
    const failure: StartFailure =
      error instanceof ConfigError ? { mistakes: error.mistakes } : { message: explain(error) };
    await primary.send({ type: 'failed', failure });
    started.resolve(error);
  };
  const start = async ({ workers, settings, sockets, certificate }: WorkerPart): Promise<void> => {
    const provider = createCertificateFollower(certificate, Date.now);
    follower.resolve(provider);
    const lines: string[] = [];
    const whole = { ...config, ...settings };
    redis = await openSharedRedis(whole, logger);
    app = await createApp(shareOf(whole, workers), environment, {
      redis,
      certificates: followCertificates(whole, provider, checkCertificate, redis),
      announce: (line) => lines.push(line),
      workers,
    });
    primary.send({ type: 'prepared' });
    await invited.promise;
    const { metrics: _primarys, ...passed } = sockets;
    const url = await app.listen(passed);
    primary.send({ type: 'listening', url, lines });
    started.resolve(undefined);
  };
  const reload = (): void => {
    try {
      app?.reload(load());
    } catch (err) {
      logger.error({ err }, 'A worker cannot reload the settings; they stay as they were');
    }
  };

  primary.onGone(onStop);
  primary.onMessage((message) => {
    switch (message.type) {
      case 'prepare':
        return void start(message.part).catch(fail);
      case 'listen':
        return invited.resolve();
      case 'certificate':
        return void follower.promise.then((provider) => provider.follow(message.certificate));
      case 'standing':
        return asked?.resolve(message.check);
      case 'measure':
        return void measure();
      case 'reload':
        return reload();
      case 'stop':
        return onStop();
    }
  });
  const measure = async (): Promise<void> =>
    primary.send({ type: 'measured', snapshot: (await app?.measured()) ?? [] });

  return {
    started: started.promise,
    async close() {
      await primary.send({ type: 'stopping' });
      await app?.close();
      await redis?.close();
      // Includes the counts of the last moment.
      await measure();
    },
  };
}

/** Divides the limits of the whole service among workers. The primary serves the metrics. */
function shareOf(config: Config, workers: number): Config {
  return {
    ...config,
    maxConnections: Math.ceil(config.maxConnections / workers),
    metricsPort: undefined,
  };
}

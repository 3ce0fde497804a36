import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { getHeapStatistics } from 'node:v8';
import type { Logger } from 'pino';
import type { Environment } from '../app/environment.ts';
import { reportReload, type Service } from '../app/service.ts';
import { forkWorker, primaryOf, type WorkerProcess } from '../cluster/peers.ts';
import type { PrimaryOptions } from '../cluster/primary.ts';
import { StartError } from '../cluster/worker-pool.ts';
import { describeDescriptorShortage } from '../config/descriptors.ts';
import { ConfigError, loadConfig, type Sources } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import { countWorkers, workerHeap } from '../config/workers.ts';
import { createServiceManager } from '../systemd/notify.ts';
import { passedSockets } from '../systemd/sockets.ts';
import { createLogger, isTextLog } from '../telemetry/logger.ts';
import { authorityFolders } from '../util/system-authorities.ts';
import { explain } from './explain.ts';
import { listenAdvice } from './listen-advice.ts';
import { createCloser, END_GRACE_MS, onStopSignals } from './stop.ts';
import { environment, prepareTransfers, sources } from './surroundings.ts';

/** Milliseconds that the service manager allows for stopping everything else after downloads have ended. */
const MANAGER_GRACE_MS = 10_000;

/** Runs `dockerproxy serve`, in the primary process and in its workers. */
export async function serve(args: readonly string[]): Promise<void> {
  authorityFolders(process.env.SSL_CERT_DIR);
  const primary = primaryOf();
  if (primary !== undefined) {
    const { work } = await import('./worker.ts');
    return work(primary, args);
  }
  const variables = takeManagerVariables();
  const config = loadConfig(sources(args));
  const sockets = passedSockets(variables, process.pid, config);
  const logger = await createLogger({
    level: config.logLevel,
    forTerminal: isTextLog(config.logFormat, process),
  });
  const here = environment(logger);
  const workers = countWorkers(config, { cores: availableParallelism(), memory: here.memoryLimit });
  const execArgv = workerArguments(here.memoryLimit, workers);
  const fork = (): WorkerProcess => forkWorker(execArgv);
  const service = await createService(config, here, { workers, sockets, fork, randomBytes });
  // Mistakes in the settings end the process before this warning.
  const shortage = describeDescriptorShortage(config, workers, here.descriptorLimit);
  if (shortage !== undefined) logger.warn(shortage);
  const manager = createServiceManager({
    variables,
    pid: process.pid,
    isAlive: () => service.isServing(),
    onFailure: (err) => logger.warn({ err }, `Cannot notify the service manager: ${err.message}`),
  });
  // When the time for downloads is over, the service aborts the rest itself. This delay ends an unresponsive service.
  const delay = config.drain + (workers === 1 ? END_GRACE_MS : MANAGER_GRACE_MS);
  const closer = createCloser({ delay, logger }, async ({ err }) => {
    if (err) logger.fatal({ err }, 'Stopping after an error');
    await Promise.all([manager.stopping(config.drain + MANAGER_GRACE_MS), service.close()]);
  });
  const ignoreSignals = onStopSignals(
    () => closer.close(),
    (signal) => {
      logger.error(`Received a second signal, ${signal}; exiting immediately`);
      service.kill();
      process.exit(1);
    },
  );
  process.on('SIGHUP', () => {
    reportReload(logger, () => service.reload(loadConfig(sources(args))));
    service
      .reloadCertificate()
      .catch((err) => logger.error({ err }, 'Cannot reload the certificate; keeping the current one'));
  });
  try {
    prepareTransfers();
    const url = await service.listen();
    await manager.ready(`Listening on ${url}`);
  } catch (error) {
    // The process exits when it has nothing left to do. The closer would exit with 0.
    closer.uninstall();
    ignoreSignals();
    process.exitCode = 1;
    await service.close().catch(() => {});
    if (error instanceof StartError) explainStart(error, logger);
    else logger.fatal({ err: error }, listenAdvice(error, config));
  }
}

/** Loads either the server or the primary, because a primary process never runs a server itself. */
async function createService(
  config: Config,
  environment: Environment,
  options: PrimaryOptions,
): Promise<Service> {
  if (options.workers === 1) {
    const { createSingle } = await import('../app/single-process.ts');
    return createSingle(config, environment, options.sockets);
  }
  const { createPrimary } = await import('../cluster/primary.ts');
  return createPrimary(config, environment, options);
}

/** Returns the options of Node.js for workers: those of this process, and a limit of the heap where none is set. */
function workerArguments(memory: number, workers: number): string[] {
  const given = [...process.execArgv, process.env.NODE_OPTIONS ?? ''];
  if (given.some((option) => option.includes('--max-old-space-size'))) return process.execArgv;
  const heap = workerHeap(memory, workers, getHeapStatistics().heap_size_limit);
  return [...process.execArgv, `--max-old-space-size=${Math.floor(heap / 2 ** 20)}`];
}

/** Reports why the first worker cannot start, once for all workers. */
function explainStart({ failure, exitCode }: StartError, logger: Logger): void {
  process.exitCode = exitCode;
  if (failure === undefined)
    logger.fatal(`The first worker exited with code ${exitCode} before it could serve`);
  else if ('message' in failure) logger.fatal(failure.message);
  else explain(new ConfigError(failure.mistakes));
}

/** Moves the service manager's variables out of the environment, so that child processes don't inherit them. */
function takeManagerVariables(): Sources['environment'] {
  const variables = { ...process.env };
  for (const name of Object.keys(variables)) {
    if (/^(?:LISTEN_|WATCHDOG_|NOTIFY_SOCKET$)/.test(name)) delete process.env[name];
  }
  return variables;
}

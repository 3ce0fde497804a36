import process from 'node:process';
import type { Peer, ToPrimary, ToWorker } from '../cluster/messages.ts';
import { startWorker } from '../cluster/worker.ts';
import { ConfigError, loadConfig } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import { createLogger, isTextLog } from '../telemetry/logger.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { listenAdvice } from './listen-advice.ts';
import { createCloser, END_GRACE_MS } from './stop.ts';
import { environment, prepareTransfers, sources } from './surroundings.ts';

/** Milliseconds that a worker waits for the primary's message after a signal to the whole process group. */
const PRIMARY_SPEAKS_MS = 250;

/** Runs a worker of `dockerproxy serve`. The primary reports its errors. */
export async function work(primary: Peer<ToWorker, ToPrimary>, args: readonly string[]): Promise<void> {
  prepareTransfers();
  const load = (): Config => loadConfig(sources(args));
  const config = load();
  const logger = await createLogger({
    level: config.logLevel,
    forTerminal: isTextLog(config.logFormat, process),
  });
  const worker = startWorker({
    ...{ primary, config, load, environment: environment(logger) },
    explain: (error) => listenAdvice(error, config),
    onStop: () => closer.close(),
  });
  const closer = createCloser({ delay: config.drain + END_GRACE_MS, logger }, ({ err }) => {
    if (err) logger.fatal({ err }, 'Stopping the worker after an error');
    return worker.close();
  });
  // A terminal sends these signals to all processes. Workers ignore them and follow the primary.
  process.on('SIGINT', () => {}).on('SIGHUP', () => {});
  // SIGTERM may be for this worker alone or for the process group. For the group, the primary also stops the worker,
  // and a second stop would force the exit.
  process.once('SIGTERM', () => setTimeout(() => closer.close(), PRIMARY_SPEAKS_MS));
  process.on('SIGTERM', () => {});
  const error = await worker.started;
  if (error !== undefined) process.exit(error instanceof ConfigError ? EXIT_CODES.config : EXIT_CODES.failed);
}

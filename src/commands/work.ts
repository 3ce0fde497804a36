import process from 'node:process';
import type { Peer, ToPrimary, ToWorker } from '../cluster/messages.ts';
import { startWorker } from '../cluster/worker.ts';
import { ConfigError, loadConfig } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import { createLogger } from '../telemetry/logger.ts';
import { EXIT_CONFIG } from './explain.ts';
import { listenAdvice } from './listen-advice.ts';
import { createCloser, END_GRACE_MS } from './stop.ts';
import { environment, sources } from './surroundings.ts';

/** Milliseconds within which the primary tells its workers to stop, after a signal to the whole process group. */
const PRIMARY_SPEAKS_MS = 250;

/** One of several processes that serve together; what it cannot do, the primary tells. */
export async function work(primary: Peer<ToWorker, ToPrimary>, args: readonly string[]): Promise<void> {
  const load = (): Config => loadConfig(sources(args));
  const config = load();
  const logger = await createLogger({ level: config.logLevel, forTerminal: process.stdout.isTTY });
  const worker = startWorker({
    ...{ primary, config, load, environment: environment(logger) },
    explain: (error) => listenAdvice(error, config),
    onStop: () => closer.close(),
  });
  const closer = createCloser({ delay: config.drain + END_GRACE_MS, logger }, ({ err }) => {
    if (err) logger.fatal({ err }, 'A worker stops after an error');
    return worker.close();
  });
  // A terminal sends these signals to all processes; the primary tells its workers what to do.
  process.on('SIGINT', () => {}).on('SIGHUP', () => {});
  // SIGTERM may be for this worker alone or for the process group. For the group, the primary tells the worker to stop,
  // and stopping twice would force the end.
  process.once('SIGTERM', () => setTimeout(() => closer.close(), PRIMARY_SPEAKS_MS));
  process.on('SIGTERM', () => {});
  const error = await worker.started;
  if (error !== undefined) process.exit(error instanceof ConfigError ? EXIT_CONFIG : 1);
}

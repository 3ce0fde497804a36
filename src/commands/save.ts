import process from 'node:process';
import { openImages } from '../app/images.ts';
import { guardFor, save as saveTo } from '../cli/save.ts';
import { parseSaveArguments } from '../cli/save-arguments.ts';
import { loadConfig } from '../config/loader.ts';
import { readTrustRules } from '../config/trust-rules.ts';
import { namedImages } from '../download/query.ts';
import { createLogger } from '../telemetry/logger.ts';
import { createTrustPolicy } from '../trust/trust-policy.ts';
import { onStopSignals } from './stop.ts';
import { environment, prepareTransfers, sources } from './surroundings.ts';
import { version } from './version.ts';

/** The exit code of a shell for SIGINT. */
const EXIT_INTERRUPTED = 130;

/** Runs `dockerproxy save`. */
export async function save(args: readonly string[]): Promise<void> {
  prepareTransfers();
  const { settings, ...what } = parseSaveArguments(args);
  const interrupted = new AbortController();
  onStopSignals(
    () => interrupted.abort(),
    () => process.exit(EXIT_INTERRUPTED),
  );
  const config = loadConfig({ ...sources(settings), keepsInHome: true });
  const logger = await createLogger({ level: 'warn', forTerminal: process.stderr.isTTY, toStderr: true });
  const images = await openImages(config, environment(logger), {
    guard: guardFor(namedImages(what.query), config),
    policy: createTrustPolicy(readTrustRules(config), config.operatorContact),
  });
  try {
    const publication = { replicas: config.replicas, generator: `DockerProxy/${version}` };
    await saveTo(what, images.source, process, publication, interrupted.signal);
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    process.exitCode = EXIT_INTERRUPTED;
  } finally {
    await images.close();
  }
}

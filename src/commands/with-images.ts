import process from 'node:process';
import { type Images, openImages } from '../app/images.ts';
import { guardFor } from '../cli/save.ts';
import { loadConfig } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import { readTrustRules } from '../config/trust-rules.ts';
import type { Reference } from '../oci/reference.ts';
import { createLogger } from '../telemetry/logger.ts';
import { createTrustPolicy } from '../trust/trust-policy.ts';
import { onStopSignals } from './stop.ts';
import { environment, prepareTransfers, sources } from './surroundings.ts';

/** The exit code of a shell for SIGINT. */
const EXIT_INTERRUPTED = 130;

/**
 * Opens the source of images for a command, runs its work, and closes the source. The first stop signal aborts the work.
 *
 * @param settings flags
 * @param references the images that the command names
 */
export async function withImages(
  settings: readonly string[],
  references: readonly Reference[],
  work: (images: Images, config: Config, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  prepareTransfers();
  const interrupted = new AbortController();
  onStopSignals(
    () => interrupted.abort(),
    () => process.exit(EXIT_INTERRUPTED),
  );
  const config = loadConfig({ ...sources(settings), keepsInHome: true });
  const logger = await createLogger({ level: 'warn', forTerminal: process.stderr.isTTY, toStderr: true });
  const images = await openImages(config, environment(logger), {
    guard: guardFor(references, config),
    policy: createTrustPolicy(readTrustRules(config), config.operatorContact),
  });
  try {
    await work(images, config, interrupted.signal);
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    process.exitCode = EXIT_INTERRUPTED;
  } finally {
    await images.close();
  }
}

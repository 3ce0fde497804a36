import process from 'node:process';
import { type Images, openImages } from '../app/images.ts';
import { type Login, readCredential } from '../cli/login.ts';
import { guardFor } from '../cli/save.ts';
import { loadConfig } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import { readTrustRules } from '../config/trust-rules.ts';
import type { Reference } from '../oci/reference.ts';
import type { ClientCredential } from '../registry/client-credential.ts';
import { createLogger } from '../telemetry/logger.ts';
import { createTrustPolicy } from '../trust/trust-policy.ts';
import { exitCodeOf } from './exit-codes.ts';
import { onStopSignals } from './stop.ts';
import { environment, prepareTransfers, sources } from './surroundings.ts';

/** The images that a command names. */
export interface NamedImages {
  /** All of them, those that the receiver has included. */
  readonly references: readonly Reference[];
  /** The images that the command reads. */
  readonly own: readonly Reference[];
  readonly login: Login | undefined;
}

const GOES_ON = 'Interrupted. The same command continues where this one stopped.\n';

/**
 * Opens the source of images for a command, runs its work, and closes the source. The first stop signal aborts the work.
 *
 * @param settings flags
 * @param named the images that the command names, and the user that opens them
 */
export async function withImages(
  settings: readonly string[],
  { references, own, login }: NamedImages,
  work: (images: Images, config: Config, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const credential =
    login &&
    (await readCredential(login, own, {
      ...{ stdin: process.stdin, stderr: process.stderr, environment: process.env },
    }));
  prepareTransfers();
  const interrupted = new AbortController();
  onStopSignals(
    (signal) => interrupted.abort(signal),
    (signal) => process.exit(exitCodeOf(signal)),
  );
  const config = loadConfig({ ...sources(settings), keepsInHome: true });
  const logger = await createLogger({ level: 'warn', forTerminal: process.stderr.isTTY, toStderr: true });
  const images = await openImages(config, environment(logger), {
    guard: guardFor(references, config),
    policy: createTrustPolicy(readTrustRules(config), config.operatorContact),
  });
  try {
    await work(opened(images, credential), config, interrupted.signal);
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    if (config.cacheSize > 0) process.stderr.write(GOES_ON);
    process.exitCode = exitCodeOf(interrupted.signal.reason);
  } finally {
    await images.close();
  }
}

/** Adds the credentials to all requests. */
function opened(images: Images, credential: ClientCredential | undefined): Images {
  const { source, files } = images;
  return {
    ...images,
    source: { ...source, open: (request, signal) => source.open({ ...request, credential }, signal) },
    files: files && { open: (request, signal) => files.open({ ...request, credential }, signal) },
  };
}

import process from 'node:process';
import type { Environment } from '../app/environment.ts';
import { type ImageParts, type Images, openImages } from '../app/images.ts';
import { createConnectionReport } from '../cli/connection-report.ts';
import { type Login, readCredential } from '../cli/login.ts';
import { guardFor, type Terminal } from '../cli/save.ts';
import { createScreen, type Screen } from '../cli/screen.ts';
import { loadConfig } from '../config/loader.ts';
import { readHosts } from '../config/registry-hosts.ts';
import type { Config } from '../config/schema.ts';
import { readTrustRules } from '../config/trust-rules.ts';
import type { Reference } from '../oci/reference.ts';
import type { ClientCredential } from '../registry/client-credential.ts';
import { createDockerConfigCredentials } from '../registry/credentials.ts';
import { createPlainLogger } from '../telemetry/logger.ts';
import { createTrustPolicy } from '../trust/trust-policy.ts';
import { authorityFolders } from '../util/system-authorities.ts';
import { exitCodeOf } from './exit-codes.ts';
import { onStopSignals } from './stop.ts';
import { environment, prepareTransfers, sources } from './surroundings.ts';

/** The images that a command names. */
export interface NamedImages {
  /** All named images, including those that the receiver has. */
  readonly references: readonly Reference[];
  /** The images that the command reads. */
  readonly own: readonly Reference[];
  readonly login: Login | undefined;
  /** True to report the registries, mirrors, and users. */
  readonly isVerbose: boolean;
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
  { references, own, login, isVerbose }: NamedImages,
  work: (images: Images, config: Config, terminal: Terminal, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const credential =
    login &&
    (await readCredential(login, own, {
      ...{ stdin: process.stdin, stderr: process.stderr, environment: process.env },
    }));
  authorityFolders(process.env.SSL_CERT_DIR);
  const interrupted = new AbortController();
  onStopSignals(
    (signal) => interrupted.abort(signal),
    (signal) => process.exit(exitCodeOf(signal)),
  );
  const config = loadConfig({ ...sources(settings), keepsInHome: true });
  const screen = createScreen(process.stderr, process.env);
  const logger = createPlainLogger((line) => screen.say(line));
  const here = environment(logger);
  const access = {
    guard: guardFor(references, config),
    policy: createTrustPolicy(readTrustRules(config), config.operatorContact),
  };
  const report = isVerbose ? reportOf(config, own, here, login, screen) : {};
  const images = await openImages(config, here, access, { ...report, hasOneReader: true });
  prepareTransfers();
  try {
    const terminal = { stdout: process.stdout, screen };
    await work(opened(images, credential), config, terminal, interrupted.signal);
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    if (config.cacheSize > 0) screen.say(GOES_ON);
    process.exitCode = exitCodeOf(interrupted.signal.reason);
  } finally {
    await images.close();
  }
}

/** Writes a line about each server and each user on their first use. */
function reportOf(
  config: Config,
  references: readonly Reference[],
  { dockerConfigFolder }: Environment,
  login: Login | undefined,
  screen: Screen,
): ImageParts {
  const hostsOf = readHosts(config);
  const mirrorsOf = (domain: string): string[] => (hostsOf(domain)?.mirrors ?? []).map(({ api }) => api.host);
  const domains = [...new Set(references.map(({ domain }) => domain))];
  const report = createConnectionReport({ domains, mirrorsOf, write: screen.say });
  if (login !== undefined) report.user(login.user, domains.join(', '));
  const credentials = createDockerConfigCredentials(dockerConfigFolder);
  return { meter: { upstream: report.answered, cache: () => {} }, credentials: report.noting(credentials) };
}

/** Adds the credentials to all requests. */
function opened(images: Images, credential: ClientCredential | undefined): Images {
  const { source, files } = images;
  return {
    ...images,
    source: { ...source, open: (request, signal) => source.open({ ...request, credential }, signal) },
    files: files && {
      open: (request, signal) => files.open({ ...request, credential }, signal),
      list: (request, signal) => files.list({ ...request, credential }, signal),
    },
  };
}

#!/usr/bin/env node
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { availableParallelism, homedir, totalmem } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import closeWithGrace from 'close-with-grace';
import type { Logger } from 'pino';
import { describeConfig } from './cli/check-config.ts';
import { CommandError, ReaderGoneError } from './cli/command-error.ts';
import { commandHelp } from './cli/command-help.ts';
import { checkHealth } from './cli/healthcheck.ts';
import { guardFor, save } from './cli/save.ts';
import { parseSaveArguments } from './cli/save-arguments.ts';
import { StartError } from './cluster/crew.ts';
import { forkWorker, primaryOf } from './cluster/peers.ts';
import { createPrimary } from './cluster/primary.ts';
import { startWorker } from './cluster/worker.ts';
import { describeDescriptorShortage, descriptorLimitOf } from './config/descriptors.ts';
import { helpText } from './config/help.ts';
import { readLists } from './config/lists.ts';
import { ConfigError, loadConfig, type Sources } from './config/loader.ts';
import { passedSockets } from './config/passed-sockets.ts';
import { redisAddressOf, redisKeyOf } from './config/redis-secrets.ts';
import type { Config } from './config/schema.ts';
import { readTrustRules } from './config/trust-rules.ts';
import { countWorkers } from './config/workers.ts';
import { CatalogueError } from './errors.ts';
import { namedImages } from './http/archive-query.ts';
import { type Environment, openImages } from './images.ts';
import { readHosts } from './registries.ts';
import { reportReload } from './service.ts';
import { createSingle } from './single.ts';
import { createStopSignals } from './stop-signals.ts';
import { authorityFolders } from './system-authorities.ts';
import { createLogger } from './telemetry/logger.ts';
import { createServiceManager } from './telemetry/service-manager.ts';
import { createTrustPolicy } from './trust/trust-policy.ts';

/** https://man.openbsd.org/sysexits: EX_CONFIG */
const EXIT_CONFIG = 78;
/** What the service manager gives beyond the time for downloads, to end everything else. */
const MANAGER_GRACE_MS = 10_000;
/** How long a process that serves may take for everything else, beyond the time for downloads. */
const END_GRACE_MS = 3_000;
const STOP_SIGNALS = ['SIGINT', 'SIGTERM'] as const;
/**
 * Signals that do not begin a graceful end. SIGHUP reloads; the others mean a broken process, such as SIGABRT from the
 * watchdog.
 */
const UNGRACEFUL = ['SIGHUP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGSEGV', 'SIGTRAP'] as const;
/** What shells make of SIGINT, and of SIGPIPE. */
const EXIT_INTERRUPTED = 130;
const EXIT_READER_GONE = 141;
/** Milliseconds within which the primary tells its workers to stop, after a signal to the whole process group. */
const PRIMARY_SPEAKS_MS = 250;

// Each 64 KiB read from a registry is young garbage a moment later. V8 lets about twice its young space pile up outside
// the heap before it collects: 64 MiB by default, and slower for it, as the caches of the processor are smaller.
setFlagsFromString('--scavenger-max-new-space-capacity-mb=2');
// libuv lends half of its threads to the system's resolver. Of four, two that wait for a name server would leave two for
// all files. Threads that do nothing cost no memory worth measuring. libuv reads this before the first thread starts.
process.env.UV_THREADPOOL_SIZE ??= '8';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

authorityFolders(process.env.SSL_CERT_DIR);

type Command = (args: readonly string[]) => Promise<void>;
const COMMANDS: Readonly<Record<string, Command>> = {
  serve,
  save: saveArchive,
  'check-config': checkConfig,
  healthcheck,
};

await run(process.argv.slice(2));

/** What is no command is a flag of `serve`. */
async function run(argv: readonly string[]): Promise<void> {
  const [first = 'serve', ...rest] = argv;
  const named = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined;
  if (argv.includes('--help')) process.stdout.write(helpText());
  else if (argv.includes('--version')) process.stdout.write(`${version}\n`);
  else await (named?.(rest) ?? serve(argv)).catch(explain);
}

/** Tells what a person can act on; anything else is a bug, and ends the process with its stack. */
function explain(error: unknown): void {
  if (error instanceof ConfigError) {
    const mistakes = error.mistakes.map((mistake) => `  ${mistake}\n`);
    process.stderr.write(`DockerProxy cannot start:\n${mistakes.join('')}`);
    process.exitCode = EXIT_CONFIG;
  } else if (error instanceof CatalogueError || error instanceof CommandError) {
    const help = error instanceof CatalogueError ? `${commandHelp(error)}\n` : '';
    process.stderr.write(`${error.message}\n${help}`);
    process.exitCode = 1;
  } else if (error instanceof ReaderGoneError) {
    process.exitCode = EXIT_READER_GONE;
  } else {
    throw error;
  }
}

async function saveArchive(args: readonly string[]): Promise<void> {
  const { settings, ...what } = parseSaveArguments(args);
  const interrupted = new AbortController();
  onStopSignals(
    () => interrupted.abort(),
    () => process.exit(EXIT_INTERRUPTED),
  );
  const config = loadConfig({ ...sources(settings), keepsInHome: true });
  const logger = createLogger({ level: 'warn', forTerminal: process.stderr.isTTY, toStderr: true });
  const images = await openImages(config, environment(logger), {
    guard: guardFor(namedImages(what.query), config),
    policy: createTrustPolicy(readTrustRules(config), config.operatorContact),
  });
  try {
    const publication = {
      replicas: config.replicas,
      isReproducible: config.source === 'registry',
      generator: `DockerProxy/${version}`,
    };
    await save(what, images.source, process, publication, interrupted.signal);
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    process.exitCode = EXIT_INTERRUPTED;
  } finally {
    await images.close();
  }
}

async function checkConfig(args: readonly string[]): Promise<void> {
  const config = loadConfig(sources(args));
  readLists(config);
  readTrustRules(config);
  readHosts(config);
  redisAddressOf(config);
  redisKeyOf(config);
  process.stdout.write(describeConfig(sources(args)));
}

async function healthcheck(args: readonly string[]): Promise<void> {
  await checkHealth(loadConfig(sources(args)));
}

async function serve(args: readonly string[]): Promise<void> {
  const primary = primaryOf();
  if (primary !== undefined) return work(primary, args);
  const variables = takeManagerVariables();
  const config = loadConfig(sources(args));
  const sockets = passedSockets(variables, process.pid, config);
  const logger = createLogger({ level: config.logLevel, forTerminal: process.stdout.isTTY });
  const workers = countWorkers(config, { cores: availableParallelism(), memory: memoryLimit() });
  const here = environment(logger);
  const service =
    workers === 1
      ? await createSingle(config, here, sockets)
      : await createPrimary(config, here, { workers, sockets, fork: forkWorker, randomBytes });
  // After mistakes in the settings, which end the process.
  const shortage = describeDescriptorShortage(config, workers, here.descriptorLimit);
  if (shortage !== undefined) logger.warn(shortage);
  const manager = createServiceManager({
    variables,
    pid: process.pid,
    isAlive: () => service.isServing(),
    onFailure: (err) => logger.warn({ err }, `The service manager could not be told: ${err.message}`),
  });
  // The service breaks off by itself what is left when the time for downloads is over: this is for one that hangs.
  const delay = config.drain + (workers === 1 ? END_GRACE_MS : MANAGER_GRACE_MS);
  const closer = createCloser({ delay, logger }, async ({ err }) => {
    if (err) logger.fatal({ err }, 'DockerProxy stops after an error');
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
    service.reloadCertificate().catch((err) => logger.error({ err }, 'The certificate stays as it was'));
  });
  try {
    const url = await service.listen();
    await manager.ready(`Listening on ${url}`);
  } catch (error) {
    // It would take the end of what there was to do for a good one.
    closer.uninstall();
    ignoreSignals();
    process.exitCode = 1;
    await service.close().catch(() => {});
    if (error instanceof StartError) explainStart(error, logger);
    else logger.fatal({ err: error }, listenAdvice(error, config));
  }
}

/** One of several processes that serve together; what it cannot do, the primary tells. */
async function work(
  primary: NonNullable<ReturnType<typeof primaryOf>>,
  args: readonly string[],
): Promise<void> {
  const load = (): Config => loadConfig(sources(args));
  const config = load();
  const logger = createLogger({ level: config.logLevel, forTerminal: process.stdout.isTTY });
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

/** Listens for SIGINT and SIGTERM. Returns a function that stops listening. */
function onStopSignals(stop: () => void, force: (signal: NodeJS.Signals) => void): () => void {
  const hear = createStopSignals({ stop, force, uptime: () => performance.now() });
  for (const signal of STOP_SIGNALS) process.on(signal, hear);
  return () => {
    for (const signal of STOP_SIGNALS) process.off(signal, hear);
  };
}

/**
 * Ends the process after `close` has finished. An error or the first call of `close()` starts it; later calls do
 * nothing.
 */
function createCloser(
  options: closeWithGrace.Options,
  close: (event: { err?: Error | undefined }) => Promise<void>,
): Pick<ReturnType<typeof closeWithGrace>, 'close' | 'uninstall'> {
  let isClosing = false;
  const closer = closeWithGrace({ ...options, skip: [...UNGRACEFUL, ...STOP_SIGNALS] }, async (event) => {
    isClosing = true;
    await close(event);
  });
  return {
    uninstall: () => closer.uninstall(),
    close() {
      if (!isClosing) closer.close();
    },
  };
}

/** Explains, once for all workers, why the first of them cannot start. */
function explainStart({ failure, exitCode }: StartError, logger: Logger): void {
  process.exitCode = exitCode;
  if (failure === undefined)
    logger.fatal(`The first worker has ended with ${exitCode} before it could serve`);
  else if ('message' in failure) logger.fatal(failure.message);
  else explain(new ConfigError(failure.mistakes));
}

/** Bytes that this process and those that it starts may have together. */
function memoryLimit(): number {
  return Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem());
}

/** What a service manager says to this process is not for those that it starts, such as credential helpers. */
function takeManagerVariables(): Sources['environment'] {
  const variables = { ...process.env };
  for (const name of Object.keys(variables)) {
    if (/^(?:LISTEN_|WATCHDOG_|NOTIFY_SOCKET$)/.test(name)) delete process.env[name];
  }
  return variables;
}

function sources(argv: readonly string[]): Sources {
  return { argv, environment: process.env, home: homedir(), isRoot: process.getuid?.() === 0 };
}

function environment(logger: Logger): Environment {
  const dockerConfigFolder = process.env.DOCKER_CONFIG ?? join(homedir(), '.docker');
  return { logger, dockerConfigFolder, variables: process.env, version, descriptorLimit: descriptorLimit() };
}

/** Reads the limit of descriptors; undefined without a limit or without /proc. */
function descriptorLimit(): number | undefined {
  try {
    return descriptorLimitOf(readFileSync('/proc/self/limits', 'utf8'));
  } catch {
    return undefined;
  }
}

function listenAdvice(error: unknown, config: Config): string {
  const { code, address, port } = error as { code?: unknown; address?: unknown; port?: unknown };
  const [flag, hostFlag] =
    config.tls !== 'off' && port === config.httpsPort
      ? ['--https-port', '--host']
      : config.metricsPort !== undefined && port === config.metricsPort
        ? ['--metrics-port', '--metrics-host']
        : ['--port', '--host'];
  if (code === 'EADDRINUSE') return `Port ${port} of ${address} is taken; choose another one with ${flag}`;
  if (code === 'EACCES')
    return `Port ${port} may not be opened by this user; choose one above 1023 with ${flag}, run it as root, or let systemd open it by dockerproxy.socket`;
  if (code === 'EADDRNOTAVAIL')
    return `${address} is no address of this machine; choose another one with ${hostFlag}`;
  return `Cannot listen on ${address}:${port}`;
}

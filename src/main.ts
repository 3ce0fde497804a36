#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import closeWithGrace from 'close-with-grace';
import type { Logger } from 'pino';
import { type App, createApp } from './app.ts';
import { helpText } from './config/help.ts';
import { ConfigError, loadConfig } from './config/loader.ts';
import type { Config } from './config/schema.ts';
import { createLogger } from './telemetry/logger.ts';

/** https://man.openbsd.org/sysexits: EX_CONFIG */
const EXIT_CONFIG = 78;
/** Milliseconds that downloads under way have to end after SIGTERM. */
const GRACE_MS = 30_000;

// Each 64 KiB read from a registry is young garbage a moment later. V8 lets about twice its young space pile up outside
// the heap before it collects: 64 MiB by default, and slower for it, as the caches of the processor are smaller.
setFlagsFromString('--scavenger-max-new-space-capacity-mb=2');

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
const argv = process.argv.slice(2);

if (argv.includes('--help')) {
  process.stdout.write(helpText());
} else if (argv.includes('--version')) {
  process.stdout.write(`${version}\n`);
} else {
  await serve();
}

async function serve(): Promise<void> {
  const { config, app, logger } = await prepare();
  const closer = closeWithGrace({ delay: GRACE_MS, logger, skip: ['SIGHUP'] }, async ({ err }) => {
    if (err) logger.fatal({ err }, 'DockerProxy stops after an error');
    await app.server.close();
  });
  process.on('SIGHUP', () => app.reload());
  try {
    await app.server.listen({
      host: config.host,
      port: config.port,
      listenTextResolver: (url) => `DockerProxy ${version} is listening on ${url}`,
    });
  } catch (error) {
    // It would take the end of what there was to do for a good one.
    closer.uninstall();
    process.exitCode = 1;
    await app.server.close();
    logger.fatal({ err: error }, listenAdvice(error, config));
  }
}

/** Everything that mistakes in the settings can end. */
async function prepare(): Promise<{ config: Config; app: App; logger: Logger }> {
  try {
    const isRoot = process.getuid?.() === 0;
    const config = loadConfig({ argv, environment: process.env, home: homedir(), isRoot });
    const logger = createLogger({ level: config.logLevel, forTerminal: process.stdout.isTTY });
    const dockerConfigFolder = process.env.DOCKER_CONFIG ?? join(homedir(), '.docker');
    return {
      config,
      logger,
      app: await createApp(config, { logger, dockerConfigFolder, variables: process.env, version }),
    };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const mistakes = error.mistakes.map((mistake) => `  ${mistake}\n`);
    process.stderr.write(`DockerProxy cannot start:\n${mistakes.join('')}`);
    process.exit(EXIT_CONFIG);
  }
}

function listenAdvice(error: unknown, { host, port }: Config): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') return `Port ${port} of ${host} is taken; choose another one with --port`;
  if (code === 'EACCES')
    return `Port ${port} may not be opened by this user; choose one above 1023 with --port`;
  if (code === 'EADDRNOTAVAIL')
    return `${host} is no address of this machine; choose another one with --host`;
  return `Cannot listen on ${host}:${port}`;
}

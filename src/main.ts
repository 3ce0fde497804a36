#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import closeWithGrace from 'close-with-grace';
import { createApp } from './app.ts';
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
  const config = configOrExit();
  if (config !== undefined) await serve(config);
}

async function serve(config: Config): Promise<void> {
  const logger = createLogger({ level: config.logLevel, forTerminal: process.stdout.isTTY });
  const dockerConfigFolder = process.env.DOCKER_CONFIG ?? join(homedir(), '.docker');
  const app = await createApp(config, { logger, dockerConfigFolder, version });
  const closer = closeWithGrace({ delay: GRACE_MS, logger, skip: ['SIGHUP'] }, async ({ err }) => {
    if (err) logger.fatal({ err }, 'DockerProxy stops after an error');
    await app.close();
  });
  try {
    await app.listen({
      host: config.host,
      port: config.port,
      listenTextResolver: (url) => `DockerProxy ${version} is listening on ${url}`,
    });
  } catch (error) {
    // It would take the end of what there was to do for a good one.
    closer.uninstall();
    process.exitCode = 1;
    await app.close();
    logger.fatal({ err: error }, listenAdvice(error, config));
  }
}

function configOrExit(): Config | undefined {
  try {
    return loadConfig({ argv, environment: process.env, home: homedir(), isRoot: process.getuid?.() === 0 });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(
      `DockerProxy cannot start:\n${error.mistakes.map((mistake) => `  ${mistake}\n`).join('')}`,
    );
    process.exitCode = EXIT_CONFIG;
    return undefined;
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

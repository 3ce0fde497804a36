import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import type { Logger } from 'pino';
import { descriptorLimitOf } from '../config/descriptors.ts';
import type { Sources } from '../config/loader.ts';
import type { Environment } from '../images.ts';
import { authorityFolders } from '../system-authorities.ts';
import { version } from '../version.ts';

/** Prepares this process to move images: call it before the first connection. */
export function prepareTransfers(): void {
  // Each 64 KiB read from a registry is young garbage a moment later. V8 lets about twice its young space pile up
  // outside the heap before it collects: 64 MiB by default, and slower for it, as the caches of the processor are
  // smaller.
  setFlagsFromString('--scavenger-max-new-space-capacity-mb=2');
  authorityFolders(process.env.SSL_CERT_DIR);
}

export function sources(argv: readonly string[]): Sources {
  return { argv, environment: process.env, home: homedir(), isRoot: process.getuid?.() === 0 };
}

export function environment(logger: Logger): Environment {
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

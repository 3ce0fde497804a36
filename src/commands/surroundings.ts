import { readFileSync } from 'node:fs';
import { homedir, totalmem } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import type { Logger } from 'pino';
import type { Environment } from '../app/environment.ts';
import { descriptorLimitOf } from '../config/descriptors.ts';
import type { Sources } from '../config/loader.ts';
import { version } from './version.ts';

/** The flag of V8 for the maximum megabytes of its space for new objects while it collects that space alone. */
const CAPACITY = '--scavenger-max-new-space-capacity-mb';
const DEFAULT_CAPACITY = 32;

/**
 * Prepares this process for transfers. Call it before the first one, but after loading the program. With another
 * flag, V8 rejects the compiled code of Node.js's own modules. Compiling the modules of a server takes 20 ms.
 */
export function prepareTransfers(): void {
  // Each 64 KiB that are read from a registry soon become garbage. Before V8 collects, about twice its young space
  // accumulates outside the heap: 64 MiB by default. That exceeds the processor's caches, so it is slower, too.
  setFlagsFromString(`${CAPACITY}=2`);
  // V8 accepts compiled code only with the flags that it was made with. The program keeps its code when it exits.
  process.prependOnceListener('exit', () => setFlagsFromString(`${CAPACITY}=${DEFAULT_CAPACITY}`));
}

export function sources(argv: readonly string[]): Sources {
  return { argv, environment: process.env, home: homedir(), isRoot: process.getuid?.() === 0 };
}

export function environment(logger: Logger): Environment {
  const dockerConfigFolder = process.env.DOCKER_CONFIG ?? join(homedir(), '.docker');
  return {
    logger,
    dockerConfigFolder,
    variables: process.env,
    killGroup,
    version,
    descriptorLimit: descriptorLimit(),
    memoryLimit: memoryLimit(),
  };
}

/** Kills the process group that a program leads. */
export function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The processes have already ended, or run as another user.
  }
}

/** Returns the bytes of memory for this process and those that it starts together. */
function memoryLimit(): number {
  return Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem());
}

/** Reads the limit of descriptors; undefined without a limit or without /proc. */
function descriptorLimit(): number | undefined {
  try {
    return descriptorLimitOf(readFileSync('/proc/self/limits', 'utf8'));
  } catch {
    return undefined;
  }
}

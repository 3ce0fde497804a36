import type { Logger } from 'pino';
import { ConfigError } from '../config/loader.ts';
import { type FindProxy, findProxyBy } from '../net/proxies.ts';

/** The parts that the application receives from the process that runs them. */
export interface Environment {
  readonly logger: Logger;
  /** The folder of Docker's config.json. */
  readonly dockerConfigFolder: string;
  /** The environment variables; those of Docker's client state the address of the engine. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Kills a program and the programs that it started, if it leads their process group. */
  readonly killGroup: (pid: number) => void;
  readonly version: string;
  /** Maximum number of descriptors that a process may open; undefined without a limit. */
  readonly descriptorLimit?: number | undefined;
  /** Bytes of memory for all processes of the service together. */
  readonly memoryLimit: number;
}

/**
 * Reads the proxies for internet access from the environment.
 *
 * @throws ConfigError if a variable cannot be used
 */
export function proxiesOf({ variables }: Environment): FindProxy {
  try {
    return findProxyBy(variables);
  } catch (error) {
    throw new ConfigError([(error as Error).message]);
  }
}

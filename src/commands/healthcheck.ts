import { checkHealth } from '../cli/healthcheck.ts';
import { loadConfig } from '../config/loader.ts';
import { sources } from './surroundings.ts';

/** Runs `dockerproxy healthcheck`. */
export async function healthcheck(args: readonly string[]): Promise<void> {
  await checkHealth(loadConfig(sources(args)));
}

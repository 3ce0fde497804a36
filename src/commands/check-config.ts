import process from 'node:process';
import { describeConfig } from '../cli/check-config.ts';
import { readLists } from '../config/lists.ts';
import { loadConfig } from '../config/loader.ts';
import { redisAddressOf, redisKeyOf } from '../config/redis-secrets.ts';
import { readHosts } from '../config/registry-hosts.ts';
import { readTrustRules } from '../config/trust-rules.ts';
import { sources } from './surroundings.ts';

/** Runs `dockerproxy check-config`. */
export async function checkConfig(args: readonly string[]): Promise<void> {
  const config = loadConfig(sources(args));
  readLists(config);
  readTrustRules(config);
  readHosts(config);
  redisAddressOf(config);
  redisKeyOf(config);
  process.stdout.write(describeConfig(sources(args)));
}

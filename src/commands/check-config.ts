import process from 'node:process';
import { describeConfig } from '../cli/check-config.ts';
import { readLists } from '../config/lists.ts';
import { ConfigError, loadConfig } from '../config/loader.ts';
import { redisAddressOf, redisKeyOf } from '../config/redis-secrets.ts';
import { readHosts } from '../config/registry-hosts.ts';
import type { Config } from '../config/schema.ts';
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
  await checkCertificate(config);
  process.stdout.write(describeConfig(sources(args)));
}

/** @throws ConfigError if the files of the certificate cannot be served */
async function checkCertificate({ tls, tlsCertFile, tlsKeyFile }: Config): Promise<void> {
  if (tls !== 'files' || tlsCertFile === undefined || tlsKeyFile === undefined) return;
  const { readCertificate } = await import('../tls/files-provider.ts');
  await readCertificate(tlsCertFile, tlsKeyFile).catch((error: Error) => {
    throw new ConfigError([error.message]);
  });
}

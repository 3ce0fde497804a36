import { readFileSync } from 'node:fs';
import {
  mirrorAt,
  PLAIN_TLS,
  type RegistryHost,
  type RegistryHosts,
  registryOrigin,
} from '../oci/registry-host.ts';
import { unreadableFile } from '../util/unreadable-file.ts';
import { type HostsFolder, readHostsFolder } from './hosts-folder.ts';
import { ConfigError } from './loader.ts';
import type { Config } from './schema.ts';
import type { RegistryTable } from './types.ts';

/**
 * Finds the hosts that serve the images of a registry; undefined if that is only the registry itself, at its usual
 * address.
 */
export type FindRegistryHosts = (domain: string) => RegistryHosts | undefined;

/**
 * Reads the mirrors, certificate authorities, and certificates of all registries, with the files that list them.
 *
 * @throws ConfigError with every mistake of every file
 */
export function readHosts(config: Config): FindRegistryHosts {
  const insecure = new Set(config.insecureRegistries);
  return readRegistryHosts(config, (domain) => registryOrigin(domain, insecure));
}

/**
 * Reads the mirrors of registries, and the certificates of mirrors and registries, from the files that the settings
 * name.
 *
 * @param originOf returns the usual origin of a registry
 * @throws ConfigError with every mistake of every file
 */
export function readRegistryHosts(
  { registries, certsDir }: Pick<Config, 'registries' | 'certsDir'>,
  originOf: (domain: string) => string,
): FindRegistryHosts {
  const mistakes: string[] = [];
  const folder: HostsFolder =
    certsDir === undefined
      ? { byDomain: new Map(), usual: undefined }
      : readHostsFolder(certsDir, originOf, mistakes);
  const tables = new Map(
    [...registries].map(([domain, table]) => [domain, fromTable(table, originOf(domain), mistakes)]),
  );
  for (const domain of tables.keys()) {
    if (folder.byDomain.has(domain)) {
      mistakes.push(
        `${domain} is both in the registries of the settings and in ${certsDir}: keep one of them.`,
      );
    }
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes);
  return (domain) => tables.get(domain) ?? folder.byDomain.get(domain) ?? folder.usual;
}

function fromTable({ mirrors, ca }: RegistryTable, origin: string, mistakes: string[]): RegistryHosts {
  const authorities = ca.flatMap((path) => {
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      mistakes.push(`registries: ${unreadableFile(path, error)}`);
      return [];
    }
  });
  const host = (url: URL): RegistryHost => ({
    ...mirrorAt(url),
    canPull: true,
    canResolve: true,
    headers: {},
    tls: { ...PLAIN_TLS, authorities },
  });
  return {
    mirrors: mirrors.map(host),
    origin: authorities.length === 0 ? undefined : host(new URL(origin)),
    isOriginListed: false,
  };
}

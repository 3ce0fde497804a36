import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse as parseToml, type TomlTable } from 'smol-toml';
import {
  type HostTls,
  mirrorAt,
  PLAIN_TLS,
  type RegistryHost,
  type RegistryHosts,
} from '../oci/registry-host.ts';
import { registry } from './types.ts';

/** The contents of a folder such as /etc/containerd/certs.d. */
export interface HostsFolder {
  readonly byDomain: ReadonlyMap<string, RegistryHosts>;
  /** For all other registries: `_default`. */
  readonly usual: RegistryHosts | undefined;
}

type Read<T> = (value: unknown, key: string) => T;

/**
 * Reads a folder in containerd's layout, with a folder for each registry: `hosts.toml` or, without it, Docker's
 * `*.crt`, `*.cert` and `*.key` files. Like containerd, it ignores unknown keys.
 *
 * @param originOf gives the usual place of a registry as an origin
 * @param mistakes takes a sentence for each mistake
 * @see https://github.com/containerd/containerd/blob/main/docs/hosts.md
 */
export function readHostsFolder(
  folder: string,
  originOf: (domain: string) => string,
  mistakes: string[],
): HostsFolder {
  const told = <T>(where: string, work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      mistakes.push(`${where}: ${(error as Error).message.split('\n', 1)[0]}`);
      return undefined;
    }
  };
  const entries = told(folder, () => readdirSync(folder, { withFileTypes: true })) ?? [];
  const folders = entries.filter((entry) => !entry.isFile() && !entry.name.startsWith('.'));
  const all = folders.flatMap(({ name }) => {
    const path = resolve(folder, name);
    const hosts = told(path, () => {
      const domain = name === '_default' ? undefined : domainOf(name);
      return { domain, hosts: readRegistryFolder(path, domain && originOf(domain)) };
    });
    return hosts ?? [];
  });
  return {
    byDomain: new Map(all.flatMap(({ domain, hosts }) => (domain && hosts ? [[domain, hosts]] : []))),
    usual: all.find(({ domain }) => domain === undefined)?.hosts,
  };
}

/** On file systems without colons in names, `registry.lan_5000_` stands for `registry.lan:5000`. */
function domainOf(name: string): string {
  if (DOCKER_HUB.test(name)) return 'docker.io';
  return registry.parse(name.replace(/_(\d+)_$/, ':$1'));
}

const DOCKER_HUB = /^(?:(?:index\.|registry-1\.)?docker\.io|registry\.hub\.docker\.com)$/;

function readRegistryFolder(folder: string, origin: string | undefined): RegistryHosts | undefined {
  const file = resolve(folder, 'hosts.toml');
  if (!existsSync(file)) return fromDockerFiles(folder, origin);
  const { host = {}, server, ...ofServer } = parseToml(readFileSync(file, 'utf8'));
  const mirrors = Object.entries(asTable(host, 'host')).map(([url, table]) =>
    readHost(folder, url, asTable(table, url)),
  );
  const written = server === undefined ? undefined : asText(server, 'server');
  const hasOwnWay = ['ca', 'client', 'skip_verify', 'header', 'override_path'].some((key) => key in ofServer);
  const root = written ?? (hasOwnWay ? origin : undefined);
  return {
    mirrors,
    origin: root === undefined ? undefined : readHost(folder, root, ofServer),
    isOriginListed: written !== undefined,
  };
}

/** @see https://docs.docker.com/engine/security/certificates */
function fromDockerFiles(folder: string, origin: string | undefined): RegistryHosts | undefined {
  const names = readdirSync(folder).toSorted();
  const text = (name: string): string => readFileSync(resolve(folder, name), 'utf8');
  const authorities = names.filter((name) => name.endsWith('.crt')).map(text);
  const certificate = names.find((name) => name.endsWith('.cert'));
  if (origin === undefined || (authorities.length === 0 && certificate === undefined)) return undefined;
  const tls: HostTls = {
    ...PLAIN_TLS,
    authorities,
    ...(certificate && { certificate: text(certificate), key: text(certificate.replace(/cert$/, 'key')) }),
  };
  const host = { canPull: true, canResolve: true, headers: {}, tls };
  return { mirrors: [], origin: { ...mirrorAt(new URL(origin)), ...host }, isOriginListed: false };
}

function readHost(folder: string, written: string, table: TomlTable): RegistryHost {
  const url = URL.parse(written.includes('://') ? written : `https://${written}`);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new Error(`${written} is not the URL of a registry`);
  const { capabilities = ['pull', 'resolve'], header, override_path: overridePath } = table;
  const can = asTexts(capabilities, 'capabilities');
  const headers = Object.entries(asTable(header ?? {}, 'header')).map(
    ([name, value]) => [name.toLowerCase(), asTexts(value, name).join(', ')] as const,
  );
  return {
    ...apiAt(url, asToggle(overridePath, 'override_path')),
    canPull: can.includes('pull'),
    canResolve: can.includes('resolve'),
    headers: Object.fromEntries(headers),
    tls: readTls(folder, table),
  };
}

/** A path is the root of the API without its version, unless `override_path` is set. */
function apiAt(url: URL, isWhole: boolean): Pick<RegistryHost, 'api' | 'prefix'> {
  const path = url.pathname.replace(/\/+$/, '');
  if (isWhole && /\/v2(?:\/|$)/.test(path)) return mirrorAt(url);
  return { api: new URL(`${url.origin}${path}${isWhole ? '' : '/v2'}`), prefix: '' };
}

function readTls(folder: string, { ca = [], client = [], skip_verify: skipVerify }: TomlTable): HostTls {
  const text = (path: string): string => readFileSync(resolve(folder, path), 'utf8');
  // A path, a list of paths with certificate and key in each, or a list of pairs: the first one is shown.
  const [first] = Array.isArray(client) ? client : [client];
  const [certificate, key] = first === undefined ? [] : asTexts(first, 'client');
  return {
    authorities: asTexts(ca, 'ca').map(text),
    certificate: certificate === undefined ? undefined : text(certificate),
    key: key === undefined || key === '' ? undefined : text(key),
    skipVerify: asToggle(skipVerify, 'skip_verify'),
  };
}

const asText: Read<string> = (value, key) => {
  if (typeof value === 'string') return value;
  throw new Error(`${key} must be a text`);
};

const asTexts: Read<string[]> = (value, key) =>
  Array.isArray(value) ? value.map((item) => asText(item, key)) : [asText(value, key)];

const asToggle: Read<boolean> = (value = false, key) => {
  if (typeof value === 'boolean') return value;
  throw new Error(`${key} must be true or false`);
};

const asTable: Read<TomlTable> = (value, key) => {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as TomlTable;
  throw new Error(`${key} must be a table`);
};

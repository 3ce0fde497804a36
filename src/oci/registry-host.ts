import type { Repository } from './reference.ts';

/** The certificates for connections to a host, in PEM. */
export interface HostTls {
  /** Authorities that are trusted for this host in addition to those of the system. */
  readonly authorities: readonly string[];
  readonly certificate: string | undefined;
  /** The client certificate; absent if the key's file contains it. */
  readonly key: string | undefined;
  /** True if the certificate of the host is not verified. */
  readonly skipVerify: boolean;
}

/** A host that has the images of a registry: the registry itself, a mirror, a pull-through cache. */
export interface RegistryHost {
  /** The URL of its API, without a slash at the end: `https://harbor.lan/v2`. */
  readonly api: URL;
  /** The prefix of each repository's path there: `docker-hub/`, or empty. */
  readonly prefix: string;
  /** True if it serves content by digest (containerd: pull). */
  readonly canPull: boolean;
  /** True if it resolves tags (containerd: resolve). */
  readonly canResolve: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: HostTls;
}

/** The hosts that serve the images of one registry. */
export interface RegistryHosts {
  /** The mirrors, in the order of requests. */
  readonly mirrors: readonly RegistryHost[];
  /** The registry itself, which is requested last; undefined if it has its usual address. */
  readonly origin: RegistryHost | undefined;
  /** True if the operator set the address of the registry, rather than only certificates for it. */
  readonly isOriginListed: boolean;
}

export const PLAIN_TLS: HostTls = {
  authorities: [],
  certificate: undefined,
  key: undefined,
  skipVerify: false,
};

/**
 * Reads the URL of a mirror. Its path after `/v2/`, or the whole path without that, is the prefix of repositories:
 * `https://harbor.lan/docker-hub` has `https://harbor.lan/v2/docker-hub/library/busybox`.
 */
export function mirrorAt(url: URL): Pick<RegistryHost, 'api' | 'prefix'> {
  const parts = url.pathname.split('/').filter(Boolean);
  const at = parts.indexOf('v2');
  const root = [url.origin, ...parts.slice(0, Math.max(at, 0)), 'v2'].join('/');
  const prefix = parts.slice(at + 1).map((part) => `${part}/`);
  return { api: new URL(root), prefix: prefix.join('') };
}

/** Returns the repository at a mirror. */
export function repositoryAt({ api, prefix }: RegistryHost, { domain, path }: Repository): Repository {
  return { domain: api.host, path: `${prefix}${path}`, namespace: domain };
}

/** Returns the origin of a registry's API. Docker Hub's differs from the name in its image references. */
export function registryOrigin(domain: string, insecure: ReadonlySet<string>): string {
  if (domain === 'docker.io') return 'https://registry-1.docker.io';
  return new URL(`${insecure.has(domain) ? 'http' : 'https'}://${domain}`).origin;
}

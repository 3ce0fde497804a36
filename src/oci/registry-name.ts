import { detail } from '../errors/details.ts';
import { quote, ServiceError } from '../errors.ts';
import { parseReference, type Reference } from './reference.ts';

/** The settings that decide which registry a repository name means. */
export interface RegistryNames {
  /** Registries by the first component that stands for them, such as `lab` for `registry.lab:5000`. */
  readonly names: ReadonlyMap<string, string>;
  /** The host names of this service. As a namespace, they say nothing about the registry. */
  readonly own: ReadonlySet<string>;
}

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const NAME = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const DOCKER_HUB = 'docker.io';

/**
 * Reads the name of a repository in a URL of the registry API: `ghcr.io/org/app`, or `busybox` for Docker Hub.
 *
 * @param name `<name>` as the specification has it, without a port
 * @param namespace the registry from the query parameter `ns`; the name is then the repository within it, which may start
 *   with that registry
 * @throws ServiceError `reference-invalid`
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#registry-proxying
 */
export function parseRegistryName(
  name: string,
  namespace: string | undefined,
  { names, own }: RegistryNames,
): Reference {
  if (!NAME.test(name)) {
    throw new ServiceError('reference-invalid', detail('repository-invalid', { text: quote(name) }));
  }
  const host = namespace?.toLowerCase();
  const isProxied = host !== undefined && !own.has(host.replace(/:\d+$/, ''));
  const [registry, path] = isProxied
    ? [names.get(host) ?? host, withoutHost(name, host)]
    : splitRegistry(name, names);
  // A reference would take a host without a dot and a port for a part of the repository.
  if (!/^(?:[^/]*[.:][^/]*|localhost)$/.test(registry)) {
    throw new ServiceError('reference-invalid', detail('registry-invalid', { text: quote(registry) }));
  }
  return parseReference(`${registry}/${path}`);
}

/** BuildKit sends `ns`, and also the path of its mirror: `mirrors = ["dl.example.org/docker.io"]`. */
function withoutHost(name: string, host: string): string {
  return name.startsWith(`${host}/`) ? name.slice(host.length + 1) : name;
}

function splitRegistry(name: string, names: RegistryNames['names']): [registry: string, path: string] {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const rest = name.slice(slash + 1);
  const named = names.get(first);
  if (named !== undefined) return [named, rest];
  return first.includes('.') || first === 'localhost' ? [first, rest] : [DOCKER_HUB, name];
}

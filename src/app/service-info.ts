import type { Config } from '../config/schema.ts';
import { MAX_IMAGES } from '../download/parameters.ts';
import type { ServiceInfo } from '../http/api/info.ts';
import type { NamePattern } from '../oci/name-pattern.ts';
import { formatPlatform } from '../oci/platform.ts';
import type { Access } from './access.ts';

type Patterns = ReturnType<Access['patterns']>;

/**
 * Describes the service for its page and for `/api/v1/info`. Returns the same object until the settings or the patterns
 * are other objects.
 */
export function createServiceInfo(
  config: () => Config,
  patterns: () => Patterns,
  version: string,
): () => ServiceInfo {
  let made: { readonly from: Config; readonly by: Patterns; readonly info: ServiceInfo } | undefined;
  return () => {
    const [from, by] = [config(), patterns()];
    if (made?.from !== from || made.by !== by) made = { from, by, info: serviceInfo(from, by, version) };
    return made.info;
  };
}

function serviceInfo(config: Config, { allow, deny, trust }: Patterns, version: string): ServiceInfo {
  const { operatorName, operatorContact, source, maxImageSize, defaultPlatform, searchUrl, registryApi } =
    config;
  return {
    version,
    operator: { name: operatorName ?? null, contact: operatorContact ?? null },
    source,
    defaultPlatform: formatPlatform(defaultPlatform),
    allowed: allow.map(({ glob }) => glob),
    denied: deny.map(({ glob }) => glob),
    policy: trust.map(({ images, isRequired, keys }) => ({
      images: images.map(({ glob }) => glob),
      require: isRequired ? 'signature' : 'none',
      keys: keys.map(({ name }) => name),
    })),
    maxImageSize: maxImageSize === 0 ? null : maxImageSize,
    maxImages: MAX_IMAGES,
    clientCredentials: source === 'registry' && config.clientCredentials === 'on',
    registryApi: source === 'registry' && registryApi === 'on',
    search: searchUrl !== undefined && allow.some(mayBeOnDockerHub),
  };
}

function mayBeOnDockerHub({ domain = 'docker.io' }: NamePattern): boolean {
  return domain === 'docker.io';
}

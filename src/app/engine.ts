import type { BlobCache } from '../blobs/blob-cache.ts';
import { ConfigError } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import { checkHost } from '../net/check-host.ts';
import type { Guard } from '../net/guard.ts';
import { createStrangerLookup } from '../net/name-lookup.ts';
import { registryOrigin } from '../oci/registry-host.ts';
import type { CredentialStore } from '../registry/credentials.ts';
import type { ConnectedEngine } from '../sources/engine/connect.ts';
import type { ImageInspector } from '../sources/image-catalogue.ts';
import type { Environment } from './environment.ts';

interface EngineParts {
  readonly credentials: CredentialStore;
  readonly guard: Guard;
  readonly insecure: ReadonlySet<string>;
  readonly blobs: BlobCache | undefined;
  readonly maxSize: number;
  readonly registries: ImageInspector;
}

/**
 * Connects to the engine that the environment names. The engine's client is loaded only if images come from an engine.
 *
 * @throws ConfigError if the engine cannot be used
 */
export async function startEngine(
  config: Config,
  { logger, variables, dockerConfigFolder: configFolder }: Environment,
  { insecure, guard, blobs, ...parts }: EngineParts,
): Promise<ConnectedEngine> {
  const { connectEngine } = await import('../sources/engine/connect.ts');
  const lookup = createStrangerLookup();
  const { defaultPlatform, pull: policy, pulls, pullQueue, engineKeep: keep, stateDir } = config;
  return connectEngine({
    ...parts,
    ...{ variables, configFolder, policy, pulls, pullQueue, keep, stateDir, defaultPlatform },
    storage: blobs?.storage,
    checkRegistry: (domain, signal) =>
      checkHost(guard, lookup, new URL(registryOrigin(domain, insecure)), signal),
    log: {
      connected: ({ product, apiVersion, store }, url) =>
        logger.info(
          { product, apiVersion, store },
          `${product} at ${url}: API ${apiVersion}, store ${store}`,
        ),
      removed: (image) => logger.info({ image }, `Removed from the engine: ${image}`),
      notKept: (names, err) =>
        logger.warn({ err }, `${err.message}: ${names.join(', ')} is sent without a length`),
      untidy: (err) => logger.warn({ err }, 'Cannot write the record of pulled images'),
    },
  }).catch((error: unknown) => {
    throw new ConfigError([error instanceof Error ? error.message : `${error}`]);
  });
}

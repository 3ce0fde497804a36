import { readFile } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { type Access, createAccess } from './access.ts';
import { type BlobCache, type CacheLog, openBlobCache } from './blobs/blob-cache.ts';
import { ConfigError } from './config/loader.ts';
import type { Config } from './config/schema.ts';
import { MAX_IMAGES } from './http/archive-query.ts';
import type { ServiceInfo } from './http/routes/info.ts';
import { createServer, type ServerOptions } from './http/server.ts';
import type { Guard } from './net/guard.ts';
import { createHttpClient } from './net/http-client.ts';
import { judgeHost } from './net/judge-host.ts';
import { formatPlatform } from './oci/platform.ts';
import { createAuthorizer } from './registry/authorizer.ts';
import { createCachingClient } from './registry/caching-client.ts';
import { createRegistryClient, registryOrigin } from './registry/client.ts';
import { type CredentialStore, createDockerConfigCredentials } from './registry/credentials.ts';
import { createManifestStore } from './registry/manifest-store.ts';
import type { ImageSource } from './sources/image-source.ts';
import { createRegistrySource } from './sources/registry-source.ts';

/** What the application takes from the process that runs it. */
export interface Environment {
  readonly logger: Logger;
  /** The folder of Docker's config.json. */
  readonly dockerConfigFolder: string;
  /** Its variables, of which those of Docker's client tell where an engine is. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly version: string;
}

/** The parts, put together. */
export interface App {
  /** Closing it ends all parts. */
  readonly server: FastifyInstance;
  /** Reads anew what may change while it runs; what has a mistake stays as it was, and the log says so. */
  reload(): void;
}

/**
 * Puts the parts together.
 *
 * @throws ConfigError where a file that the settings name cannot be read
 */
export async function createApp(config: Config, environment: Environment): Promise<App> {
  const { logger } = environment;
  const insecure = new Set(config.insecureRegistries);
  const access = createAccess(config);
  const { guard, allowlist, clients } = access;
  const credentials = createDockerConfigCredentials(environment.dockerConfigFolder);
  const http = createHttpClient({
    guard,
    userAgent: `DockerProxy/${environment.version}`,
  });
  const authorizer = createAuthorizer({
    http,
    credentials,
    now: () => performance.now(),
  });
  const registries = createRegistryClient({ http, authorizer, insecure });
  const blobs = await openCache(config, logger);
  const { cacheDir, staleIfError } = config;
  const manifests = createManifestStore(cacheDir);
  const client =
    blobs === undefined
      ? registries
      : createCachingClient({ client: registries, blobs, manifests, staleIfError, now: Date.now });
  const { defaultPlatform } = config;
  const maxSize = config.maxImageSize === 0 ? Number.MAX_SAFE_INTEGER : config.maxImageSize;
  const source =
    config.source === 'registry'
      ? createRegistrySource({ client, defaultPlatform, maxSize })
      : await startEngineSource(config, environment, { credentials, guard, insecure, blobs, maxSize });

  const server = await createServer({
    logger,
    info: () => serviceInfo(config, access.patterns(), environment.version),
    tls: await readCertificate(config),
    trustProxy: config.trustProxy,
    clients,
    source,
    allowlist,
  });
  server.addHook('onClose', async () => {
    await blobs?.close();
    await http.close();
  });
  return {
    server,
    reload() {
      try {
        access.reload();
        logger.info('The lists of who may fetch what were read anew');
      } catch (err) {
        logger.error({ err }, 'The lists of who may fetch what stay as they were');
      }
    },
  };
}

function serviceInfo(
  config: Config,
  { allow, deny }: ReturnType<Access['patterns']>,
  version: string,
): ServiceInfo {
  const { operatorName, operatorContact, source, maxImageSize, defaultPlatform } = config;
  return {
    version,
    operator: { name: operatorName ?? null, contact: operatorContact ?? null },
    source,
    defaultPlatform: formatPlatform(defaultPlatform),
    allowed: allow.map(({ glob }) => glob),
    denied: deny.map(({ glob }) => glob),
    maxImageSize: maxImageSize === 0 ? null : maxImageSize,
    maxImages: MAX_IMAGES,
    search: false,
  };
}

interface EngineParts {
  readonly credentials: CredentialStore;
  readonly guard: Guard;
  readonly insecure: ReadonlySet<string>;
  readonly blobs: BlobCache | undefined;
  readonly maxSize: number;
}

/** Loaded only where it is wanted: who takes images from registries has no use for a client of the engine. */
async function startEngineSource(
  config: Config,
  { logger, variables, dockerConfigFolder: configFolder }: Environment,
  { insecure, guard, blobs, ...parts }: EngineParts,
): Promise<ImageSource> {
  const { connectEngine } = await import('./sources/engine/connect.ts');
  const { defaultPlatform, pull: policy, pulls, pullQueue, engineKeep: keep, stateDir } = config;
  return connectEngine({
    ...parts,
    ...{ variables, configFolder, policy, pulls, pullQueue, keep, stateDir, defaultPlatform },
    storage: blobs?.storage,
    judge: (domain) => judgeHost(guard, new URL(registryOrigin(domain, insecure))),
    log: {
      connected: ({ product, apiVersion, store }, url) =>
        logger.info(
          { product, apiVersion, store },
          `${product} at ${url}: API ${apiVersion}, store ${store}`,
        ),
      removed: (image) => logger.info({ image }, `Removed from the engine: ${image}`),
      unspooled: (names, err) =>
        logger.warn({ err }, `${err.message}: ${names.join(', ')} is sent without a length`),
      untidy: (err) => logger.warn({ err }, 'The record of pulled images could not be kept up'),
    },
  }).catch((error: unknown) => {
    throw new ConfigError([error instanceof Error ? error.message : `${error}`]);
  });
}

async function openCache(config: Config, logger: Logger): Promise<BlobCache | undefined> {
  const { cacheDir: folder, cacheSize: limit } = config;
  if (limit === 0) return undefined;
  const log: CacheLog = {
    damaged: (digest) => logger.warn({ digest }, `The cached blob ${digest} was changed; it is fetched anew`),
    uncached: (digest, err) =>
      logger.warn({ digest, err }, `${err.message}: ${digest} passes through uncached`),
  };
  try {
    return await openBlobCache({ folder, limit, log });
  } catch (error) {
    throw new ConfigError([
      `The cache folder ${folder} cannot be used: ${(error as Error).message}. Set another one with --cache-dir, or none with --cache-size 0.`,
    ]);
  }
}

async function readCertificate({ tlsCertFile, tlsKeyFile }: Config): Promise<ServerOptions['tls']> {
  if (tlsCertFile === undefined && tlsKeyFile === undefined) return undefined;
  if (tlsCertFile === undefined || tlsKeyFile === undefined) {
    throw new ConfigError(['A certificate and its key belong together: set both files or none.']);
  }
  try {
    return { cert: await readFile(tlsCertFile), key: await readFile(tlsKeyFile) };
  } catch (error) {
    throw new ConfigError([`The certificate cannot be read: ${(error as Error).message}.`]);
  }
}

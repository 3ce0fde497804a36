import { readFile } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { type Access, createAccess } from './access.ts';
import { type BlobCache, type CacheLog, openBlobCache } from './blobs/blob-cache.ts';
import { ConfigError } from './config/loader.ts';
import type { Config } from './config/schema.ts';
import { MAX_IMAGES } from './http/archive-query.ts';
import type { ConnectionLimits } from './http/connections.ts';
import type { ServiceInfo } from './http/routes/info.ts';
import { createServer, type ServerOptions } from './http/server.ts';
import { createGuard, type Guard } from './net/guard.ts';
import { createHttpClient } from './net/http-client.ts';
import { judgeHost } from './net/judge-host.ts';
import type { NamePattern } from './oci/name-pattern.ts';
import { formatPlatform } from './oci/platform.ts';
import { createAuthorizer } from './registry/authorizer.ts';
import { createCachingClient } from './registry/caching-client.ts';
import { createRegistryClient, registryOrigin } from './registry/client.ts';
import { type CredentialStore, createDockerConfigCredentials } from './registry/credentials.ts';
import { createManifestStore } from './registry/manifest-store.ts';
import { createBriefCatalogue } from './sources/brief-catalogue.ts';
import type { ConnectedEngine } from './sources/engine/connect.ts';
import type { ImageCatalogue } from './sources/image-catalogue.ts';
import { createRegistryCatalogue } from './sources/registry-catalogue.ts';
import { createRegistrySource } from './sources/registry-source.ts';
import { createRepositorySearch, type RepositorySearch } from './sources/repository-search.ts';

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
  const direct = createRegistryClient({ http, authorizer, insecure });
  const blobs = await openCache(config, logger);
  const { cacheDir, staleIfError } = config;
  const manifests = createManifestStore(cacheDir);
  const client =
    blobs === undefined
      ? direct
      : createCachingClient({ client: direct, blobs, manifests, staleIfError, now: Date.now });
  const { defaultPlatform } = config;
  const maxSize = config.maxImageSize === 0 ? Number.MAX_SAFE_INTEGER : config.maxImageSize;
  const registries = createRegistryCatalogue({ client, defaultPlatform, maxSize });
  const { source, catalogue } =
    config.source === 'registry'
      ? { source: createRegistrySource({ client, defaultPlatform, maxSize }), catalogue: registries }
      : await startEngine(config, environment, { credentials, guard, insecure, blobs, maxSize, registries });
  const search = createSearch(config, environment);

  const server = await createServer({
    logger,
    info: () => serviceInfo(config, access.patterns(), environment.version),
    tls: await readCertificate(config),
    trustProxy: config.trustProxy,
    clients,
    connections: connectionLimits(config),
    source,
    catalogue: createBriefCatalogue({ catalogue, now: () => performance.now() }),
    search: search?.find,
    allowlist,
  });
  server.addHook('onClose', async () => {
    await blobs?.close();
    await http.close();
    await search?.close();
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
  const { operatorName, operatorContact, source, maxImageSize, defaultPlatform, searchUrl } = config;
  return {
    version,
    operator: { name: operatorName ?? null, contact: operatorContact ?? null },
    source,
    defaultPlatform: formatPlatform(defaultPlatform),
    allowed: allow.map(({ glob }) => glob),
    denied: deny.map(({ glob }) => glob),
    maxImageSize: maxImageSize === 0 ? null : maxImageSize,
    maxImages: MAX_IMAGES,
    search: searchUrl !== undefined && allow.some(mayBeOnDockerHub),
  };
}

function mayBeOnDockerHub({ domain = 'docker.io' }: NamePattern): boolean {
  return domain === 'docker.io';
}

/** Its address is the operator's, and leads nobody else anywhere: it has a guard and connections of its own. */
function createSearch(
  { searchUrl: url }: Config,
  { version }: Environment,
): { readonly find: RepositorySearch; close(): Promise<void> } | undefined {
  if (url === undefined) return undefined;
  const http = createHttpClient({ guard: createGuard([url.origin]), userAgent: `DockerProxy/${version}` });
  const find = createRepositorySearch({ http, url, now: () => performance.now() });
  return { find, close: () => http.close() };
}

interface EngineParts {
  readonly credentials: CredentialStore;
  readonly guard: Guard;
  readonly insecure: ReadonlySet<string>;
  readonly blobs: BlobCache | undefined;
  readonly maxSize: number;
  readonly registries: ImageCatalogue;
}

/** Loaded only where it is wanted: who takes images from registries has no use for a client of the engine. */
async function startEngine(
  config: Config,
  { logger, variables, dockerConfigFolder: configFolder }: Environment,
  { insecure, guard, blobs, ...parts }: EngineParts,
): Promise<ConnectedEngine> {
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

function connectionLimits(config: Config): ConnectionLimits {
  const { maxConnections, connectionsPerClient, minClientSpeed, minClientSpeedWindow } = config;
  return {
    maxConnections,
    connectionsPerClient,
    exempt: config.trustProxy,
    slowestClient: { bytesPerSecond: minClientSpeed, patience: minClientSpeedWindow },
  };
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

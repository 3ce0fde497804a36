import { availableParallelism } from 'node:os';
import type { CacheLog } from '../blobs/blob-cache.ts';
import { createFolderLocks } from '../blobs/folder-locks.ts';
import { createSharedBlobs, sharingNothing } from '../blobs/shared-blobs.ts';
import type { Config } from '../config/schema.ts';
import type { SourceName } from '../config/sources.ts';
import type { Guard } from '../net/guard.ts';
import type { HttpClientOptions } from '../net/http-client.ts';
import type { Allowlist } from '../policy/allowlist.ts';
import type { Redis } from '../redis/redis.ts';
import { createRedisLocks } from '../redis/redis-locks.ts';
import { createCachingClient } from '../registry/caching-client.ts';
import { type CredentialStore, createDockerConfigCredentials } from '../registry/credentials.ts';
import { createDiskStore } from '../registry/disk-store.ts';
import { rememberingBlobs } from '../registry/known-blobs.ts';
import { placingLargeMetadata } from '../registry/large-metadata.ts';
import { createManifestStore, type KeyValueStore, type ManifestStore } from '../registry/manifest-store.ts';
import { createMemoryStore, keepingManifests } from '../registry/memory-store.ts';
import { createRedisStore } from '../registry/redis-store.ts';
import { createSharedManifestStore } from '../registry/shared-manifest-store.ts';
import { keepingSmallBlobs } from '../registry/small-blobs.ts';
import { createUpstreamBudgets } from '../registry/upstream-budget.ts';
import { createCachedInspector } from '../sources/cached-catalogue.ts';
import type { ImageFiles } from '../sources/contents/image-files.ts';
import { createDiskTables, storingNothing } from '../sources/contents/table-store.ts';
import { createTreeMemory, treeLimitFor } from '../sources/contents/tree-memory.ts';
import type { ImageInspector } from '../sources/image-catalogue.ts';
import type { ImageSource } from '../sources/image-source.ts';
import { createInlineMemory, inlineLimitFor } from '../sources/registry/inline-memory.ts';
import { suggestingInspector, suggestingSource } from '../sources/tag-suggestions.ts';
import type { Check } from '../telemetry/readiness.ts';
import type { TrustPolicy } from '../trust/trust-policy.ts';
import { createGate } from '../util/gate.ts';
import { createLargeDocuments } from '../util/large-documents.ts';
import { createLocks, type Locks, NO_LOCK } from '../util/lock.ts';
import { createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';
import { createArchiveHashes } from './archive-hashes.ts';
import { checkFolder, openCache } from './cache-folder.ts';
import { startEngine } from './engine.ts';
import { type Environment, proxiesOf } from './environment.ts';
import { type ImageFaces, withPrivateViews } from './private-dispatch.ts';
import { createPrivateViews } from './private-views.ts';
import { openRegistries } from './registries.ts';
import { openRegistryImages } from './registry-images.ts';

/** Minimum milliseconds that a resolved tag stays in Redis, so that waiting replicas can read it. */
const LEAST_TAG_MS = 60_000;

/** Functions that metrics use to observe the work. */
export interface ImageMeter {
  readonly upstream: NonNullable<HttpClientOptions['onAnswer']>;
  readonly cache: NonNullable<CacheLog['read']>;
}

/** The rules for what may be fetched, and from where. */
export interface ImageAccess {
  readonly guard: Guard;
  readonly policy: TrustPolicy;
  /** Absent if the user owns the credentials and may fetch anything. */
  readonly allowlist?: Allowlist;
}

/** The source of images and everything behind it: the cache, the registries, the engine. */
export interface Images extends ImageFaces {
  /** True if the folder of the cache, and the engine, are usable. */
  readonly checks: Readonly<Record<string, Check>>;
  /** Aborts every fetch. The received bytes stay in the cache, so that a later fetch continues them. */
  close(): Promise<void>;
}

/** A source of images, with its properties. */
interface OpenedSource {
  readonly source: ImageSource;
  /** Absent if the source cannot read layers. */
  readonly files?: ImageFiles;
  readonly catalogue: ImageInspector;
  readonly check: Check;
}

/** The parts that the surrounding process provides for images. */
export interface ImageParts {
  readonly meter?: ImageMeter;
  readonly redis?: Redis | undefined;
  /** The credentials for registries; those of Docker's config.json if absent. */
  readonly credentials?: CredentialStore;
  /** The list of in-memory caches. */
  readonly caches?: MemoryCaches;
  /** Bytes of memory for this process; without a limit where absent. */
  readonly memory?: number;
  /** True if only one reader at a time reads a blob. */
  readonly hasOneReader?: boolean;
}

/** The locks of a process without a shared folder. */
const alone: Pick<Locks, 'take'> = { take: async () => NO_LOCK };

/** Returns monotonic milliseconds. */
const uptime = (): number => performance.now();

/**
 * Creates the source of images that the settings select.
 *
 * @throws ConfigError if the folder of the cache, or the engine, cannot be used
 */
export async function openImages(
  config: Config,
  environment: Environment,
  { guard, policy, allowlist }: ImageAccess,
  {
    meter,
    redis,
    caches = createMemoryCaches(uptime),
    credentials = createDockerConfigCredentials(environment.dockerConfigFolder),
    memory = Number.POSITIVE_INFINITY,
    hasOneReader = false,
  }: ImageParts = {},
): Promise<Images> {
  const insecure = new Set(config.insecureRegistries);
  const userAgent = `DockerProxy/${environment.version}`;
  const { logger } = environment;
  const budgets = createUpstreamBudgets();
  const onAnswer: ImageMeter['upstream'] = (...answer) => {
    budgets.count();
    meter?.upstream(...answer);
  };
  const findProxy = proxiesOf(environment);
  const large = createLargeDocuments(memory);
  const upstream = openRegistries(config, {
    ...{
      guard,
      large,
      credentials,
      allowlist,
      logger,
      userAgent,
      findProxy,
      onAnswer,
      caches,
      admit: budgets.admit,
    },
  });
  const direct = placingLargeMetadata(upstream.client, large);
  const blobs = await openCache(config, environment.logger, caches, meter?.cache);
  const { cacheDir, staleIfError, tagTtl } = config;
  const disk = blobs && createDiskStore(cacheDir, blobs.storage.reserve, large);
  const shared = redis && createRedisStore(redis, Math.max(staleIfError, tagTtl, LEAST_TAG_MS));
  const own = disk ? keepingManifests(disk, caches) : createMemoryStore(caches);
  const ownLocks = disk ? createFolderLocks(cacheDir, uptime) : createLocks(async () => NO_LOCK, uptime);
  const caching = createCachingClient({
    client: blobs ? direct : keepingSmallBlobs({ client: direct, caches }),
    blobs: blobs ?? (hasOneReader ? sharingNothing : createSharedBlobs(caches)),
    ...{ staleIfError, tagTtl, now: Date.now, large, caches },
    manifests: manifestStore(own, shared),
    locks: redis ? createRedisLocks(redis, uptime) : ownLocks,
  });
  const stores = [disk, shared].filter((store) => store !== undefined);
  const maxSize = config.maxImageSize === 0 ? Number.MAX_SAFE_INTEGER : config.maxImageSize;
  const shares = {
    ...{ config, policy, budgets, now: uptime },
    inline: createInlineMemory(caches, inlineLimitFor(memory)),
    memory: createTreeMemory(caches, treeLimitFor(memory)),
    gate: createGate(availableParallelism()),
  };
  const anonymous = openRegistryImages({
    ...{ ...shares, caches, stores },
    hashes: createArchiveHashes(blobs && cacheDir, caches),
    client: budgets.charge(rememberingBlobs({ client: caching, caches })),
    ...(blobs === undefined
      ? { tables: storingNothing, locks: alone }
      : {
          tables: createDiskTables(cacheDir, blobs.storage.reserve),
          locks: createFolderLocks(cacheDir, uptime),
        }),
  });
  const { inspector: registries } = anonymous;
  const open: Readonly<Record<SourceName, () => Promise<OpenedSource>>> = {
    registry: async () => ({
      source: anonymous.source,
      files: anonymous.files,
      catalogue: registries,
      // Images of one registry do not depend on other registries.
      check: () => ({ isReady: true, details: { kind: 'registry' } }),
    }),
    engine: () =>
      startEngine(config, environment, { credentials, guard, insecure, blobs, maxSize, registries }),
  };
  const { source, files, catalogue, check } = await open[config.source]();
  const brief = createCachedInspector({ catalogue, now: uptime, caches });
  const faces: ImageFaces = {
    source: suggestingSource(source, brief.tags),
    files,
    catalogue: suggestingInspector(brief),
    referrers: anonymous.referrers,
    pulls: anonymous.pulls,
  };
  const views = createPrivateViews({
    ...{ shares, upstream, credentials, large, tagTtl, caches },
    stored: (reader) => blobs?.stored(reader) ?? reader,
  });
  return {
    ...withPrivateViews(faces, views.find),
    checks: { source: check, ...(blobs && { cache: () => checkFolder(cacheDir) }) },
    async close() {
      views.clear();
      await blobs?.close();
      await upstream.close();
    },
  };
}

/** Stores manifests and tags for the processes of this machine, and for all replicas. */
function manifestStore(local: KeyValueStore, shared: KeyValueStore | undefined): ManifestStore {
  const own = createManifestStore(local);
  return shared === undefined ? own : createSharedManifestStore(own, createManifestStore(shared));
}

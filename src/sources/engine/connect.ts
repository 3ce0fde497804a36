import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Storage } from '../../blobs/blob-cache.ts';
import { openSpools } from '../../blobs/spools.ts';
import { ServiceError } from '../../errors.ts';
import type { ImageInspector } from '../image-catalogue.ts';
import type { ImageSource } from '../image-source.ts';
import { findEngine } from './address.ts';
import { createEngineInspector } from './catalogue.ts';
import type { EngineFacts } from './connection.ts';
import { createEngine } from './engine.ts';
import { createLeases } from './leases.ts';
import { createPulledImages } from './pulled-images.ts';
import { createQueue } from './queue.ts';
import { createEngineSource, type EngineSourceLog, type EngineSourceOptions } from './source.ts';

export interface ConnectOptions
  extends Pick<EngineSourceOptions, 'credentials' | 'policy' | 'defaultPlatform' | 'maxSize'> {
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** The folder of Docker's config.json. */
  readonly configFolder: string;
  /** Maximum concurrent pulls, maximum concurrent saves, and the length of the queue of each. */
  readonly pulls: number;
  readonly pullQueue: number;
  /** Bytes of pulled images that stay in the engine. */
  readonly keep: number;
  readonly stateDir: string;
  /** The folder of saved archives; undefined to keep no archives. */
  readonly storage: Storage | undefined;
  /** Refuses a registry that the policy or the guard does not allow. */
  readonly checkRegistry: (domain: string, signal: AbortSignal) => Promise<void>;
  /** Describes the images that the engine would pull. */
  readonly registries: ImageInspector;
  readonly log: ConnectLog;
}

export interface ConnectLog extends EngineSourceLog {
  /** Called when an engine responds again, or when its identity changes. */
  connected(facts: EngineFacts, url: string): void;
  /** Called if an image that was pulled earlier is no longer in the engine. */
  removed(name: string): void;
}

/** The functions of an engine, and its metadata. */
export interface ConnectedEngine {
  readonly source: ImageSource;
  readonly catalogue: ImageInspector;
  /** Pings the engine. Throws if it does not answer. */
  check(): Promise<{ readonly isReady: true; readonly details: Readonly<Record<string, unknown>> }>;
}

/**
 * Finds the engine and makes it a source of images.
 *
 * @throws Error with a message for the operator: the engine that does not respond, and the remedy
 */
export async function connectEngine(options: ConnectOptions): Promise<ConnectedEngine> {
  const {
    variables,
    configFolder,
    pulls,
    pullQueue,
    keep,
    stateDir,
    storage,
    checkRegistry,
    registries,
    log,
    ...rest
  } = options;
  const engine = createEngine({
    find: () => findEngine({ variables, configFolder, readFile: readIfThere }),
    onConnected: log.connected,
    now: performance.now.bind(performance),
  });
  try {
    await engine.describe(AbortSignal.timeout(PATIENCE_MS));
  } catch (error) {
    throw new Error(absence(engine.url, error), { cause: error });
  }
  const leases = createLeases();
  const source = createEngineSource({
    ...rest,
    engine,
    leases,
    log,
    queues: {
      pulls: createQueue({ atOnce: pulls, length: pullQueue }),
      saves: createQueue({ atOnce: pulls, length: pullQueue }),
    },
    pulled: createPulledImages({
      file: join(stateDir, 'pulled-images.json'),
      engine,
      leases,
      keep,
      now: Date.now,
      onRemoved: log.removed,
    }),
    spools: storage && (await openSpools(storage)),
    checkRegistry: ({ domain }, signal) => checkRegistry(domain, signal),
  });
  return {
    source,
    catalogue: createEngineInspector({ ...rest, engine, registries }),
    async check() {
      const signal = AbortSignal.timeout(CHECK_PATIENCE_MS);
      await engine.ping(signal);
      const { product, apiVersion } = await engine.describe(signal);
      return { isReady: true, details: { kind: 'engine', url: engine.url, product, apiVersion } };
    },
  };
}

/** Milliseconds that an engine may take to answer at the start. */
const PATIENCE_MS = 30_000;
/** Milliseconds that it may take at a readiness check, because monitors have short timeouts. */
const CHECK_PATIENCE_MS = 2_000;

function absence(url: string, error: unknown): string {
  const cause = error instanceof ServiceError ? error.cause : error;
  const why = cause instanceof Error ? cause.message : `${cause}`;
  return `No Docker engine answers at ${url} (${why}). Start it, or say in DOCKER_HOST where it is, or take images from their registries with --source registry.`;
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return undefined;
    throw error;
  }
}

import { tooLarge } from '../../blobs/spools.ts';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import { formatReference, type Reference } from '../../oci/reference.ts';
import type { CredentialStore } from '../../registry/credentials.ts';
import { createSingleFlight } from '../../util/single-flight.ts';
import type { Progress } from '../image-source.ts';
import type { Engine } from './engine.ts';
import type { EngineImage } from './engine-images.ts';
import { isFor, notInEngine, otherPlatform } from './engine-images.ts';
import { engineName } from './engine-name.ts';
import type { ProgressHub } from './progress-hub.ts';
import type { PullProgress } from './pull-progress.ts';
import type { PulledImages } from './pulled-images.ts';
import type { Queue } from './queue.ts';

/** Provides images in the engine, and pulls those that are missing. */
export interface PullService {
  /**
   * Ensures that the engine has an image, and describes it.
   *
   * @throws ServiceError `image-not-found`, `platform-not-found`, and as the pull of an {@link Engine} does
   */
  provide(
    reference: Reference,
    platform: Platform | undefined,
    report: (progress: Progress) => void,
    signal: AbortSignal,
  ): Promise<EngineImage>;
}

export interface PullServiceOptions {
  readonly engine: Engine;
  readonly queue: Queue;
  readonly hub: ProgressHub;
  readonly pulled: PulledImages;
  readonly credentials: CredentialStore;
  /** Refuses registries that the engine must not contact. */
  readonly checkRegistry: (reference: Reference, signal: AbortSignal) => Promise<void>;
  readonly policy: 'always' | 'missing' | 'never';
  readonly defaultPlatform: Platform;
  /** Maximum bytes of an archive. */
  readonly maxSize: number;
  readonly log: { untidy(error: unknown): void };
}

/** An image to pull. */
interface Order {
  readonly reference: Reference;
  readonly platform: Platform | undefined;
  /** True if the digest names the manifest of the image, for any platform. */
  readonly isExact: boolean;
  readonly report: (progress: Progress) => void;
}

/** Milliseconds. */
const REMOVAL_TIMEOUT_MS = 10 * 60_000;

export function createPullService(options: PullServiceOptions): PullService {
  const { engine, queue, hub, pulled, credentials, checkRegistry, policy, defaultPlatform, maxSize, log } =
    options;
  const share = createSingleFlight<EngineImage>();

  /** Updates the record of pulled images. A failed update is logged, because it does not affect clients. */
  const note = async (record: (engineId: string) => Promise<void>, signal: AbortSignal): Promise<string> => {
    const { id } = await engine.describe(signal);
    await record(id).catch(log.untidy);
    return id;
  };

  const pullNow = async (key: string, order: Order, shared: AbortSignal): Promise<EngineImage> => {
    const { reference, platform } = order;
    const image = formatReference(reference);
    const name = engineName(reference);
    const found = await credentials.find(reference.domain);
    const onProgress = ({ layers, size }: PullProgress): void => {
      hub.report(key, { stage: 'pulling', image, layers });
      // The saved archive is hardly smaller than the pulled layers, so don't pull the rest.
      if (size > maxSize) throw tooLarge(maxSize);
    };
    const work = async (): Promise<EngineImage> => {
      const before = await engine.images(shared);
      await engine.pull({ reference, platform, credentials: found, onProgress }, shared);
      const made = await engine.inspect(name, platform, shared);
      if (made === undefined) throw new ServiceError('engine-failed', detail('engine-image-lost', { image }));
      const engineId = await note((id) => pulled.pulled(id, name, made, before), shared);
      // No client waits for the removal, and a lease keeps the image itself.
      pulled.removeSurplus(engineId, AbortSignal.timeout(REMOVAL_TIMEOUT_MS)).catch(log.untidy);
      return made;
    };
    return queue.run(work, (ahead) => hub.report(key, { stage: 'queued', ahead }), shared);
  };

  /** Pulls an image, once for all requests that want it at the same time. */
  const pull = async (order: Order, signal: AbortSignal): Promise<EngineImage> => {
    const { reference, platform, isExact, report } = order;
    const purpose = `${isExact ? 'exact ' : ''}${platform === undefined ? '' : formatPlatform(platform)}`;
    const key = `${engineName(reference)} ${purpose}`;
    const work = async (shared: AbortSignal): Promise<EngineImage> => {
      await checkRegistry(reference, shared);
      return pullNow(key, order, shared);
    };
    using _watching = hub.watch(key, report);
    return await share(key, work, signal);
  };

  return {
    async provide(reference, platform, report, signal) {
      // A digest without a platform names this manifest for any platform, or the default platform of an index.
      const isExact = reference.digest !== undefined && platform === undefined;
      const wanted = platform ?? defaultPlatform;
      const isWanted = (image: EngineImage): boolean => isExact || isFor(wanted, image);

      const present = await engine.inspect(engineName(reference), wanted, signal);
      // The content of a digest never changes, so another pull would be useless.
      const mayStay = policy !== 'always' || reference.digest !== undefined;
      if (present !== undefined && mayStay && isWanted(present)) {
        await note((engineId) => pulled.used(engineId, present), signal);
        return present;
      }
      if (policy === 'never')
        throw present === undefined ? notInEngine(reference) : otherPlatform(reference, wanted, present);

      const order = { reference, isExact, report };
      const image = await pull({ ...order, platform: wanted }, signal).catch((error: unknown) => {
        const mayBeOther = error instanceof ServiceError && error.code === 'platform-not-found' && isExact;
        if (!mayBeOther) throw error;
        return pull({ ...order, platform: undefined }, signal);
      });
      if (!isWanted(image)) throw otherPlatform(reference, wanted, image);
      return image;
    },
  };
}

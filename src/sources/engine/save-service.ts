import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { StorageFailure } from '../../blobs/growing-file.ts';
import { type Spool, type Spools, tooLarge } from '../../blobs/spools.ts';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { formatPlatform, type Platform, samePlatform } from '../../oci/platform.ts';
import { createSingleFlight } from '../../util/single-flight.ts';
import { relay } from '../../util/streams.ts';
import type { Progress } from '../image-source.ts';
import type { Engine } from './engine.ts';
import type { EngineImage } from './engine-images.ts';
import { type ImageName, nameImages } from './name-images.ts';
import type { ProgressHub } from './progress-hub.ts';
import type { Queue } from './queue.ts';
import { wholeArchive } from './whole-archive.ts';

/** Images to save as one archive. */
export interface SaveJob {
  readonly names: readonly string[];
  readonly images: readonly EngineImage[];
  /** The names that engines omit although the request has them. */
  readonly nameless: readonly ImageName[];
  readonly report: (progress: Progress) => void;
}

/** Saves images of the engine. */
export interface SaveService {
  /**
   * Saves the images to the disk, once for all requests that want them at the same time.
   *
   * @returns undefined if archives cannot be kept
   */
  keep(job: SaveJob, signal: AbortSignal): Promise<Spool | undefined>;
  /**
   * Saves the images as a stream.
   *
   * @throws ServiceError `engine-failed` if a name changes its image before the engine begins
   */
  stream(job: SaveJob, signal: AbortSignal): Promise<Readable>;
  /** Tells whether the names still have the images of the job. Otherwise, other images were saved. */
  isCurrent(job: SaveJob, signal: AbortSignal): Promise<boolean>;
}

export interface SaveServiceOptions {
  readonly engine: Engine;
  readonly queue: Queue;
  readonly hub: ProgressHub;
  /** Undefined if archives are not kept. */
  readonly spools: Spools | undefined;
  /** Maximum bytes of an archive. */
  readonly maxSize: number;
  readonly log: { notKept(names: readonly string[], reason: Error): void };
}

/** Version of the check of saved archives. Increase it with the check, so that cached archives are saved again. */
const CHECK_VERSION = 2;

export function createSaveService(options: SaveServiceOptions): SaveService {
  const { engine, queue, hub, spools, maxSize, log } = options;
  const share = createSingleFlight<Spool>();

  const isCurrent = async ({ names, images }: SaveJob, signal: AbortSignal): Promise<boolean> => {
    const now = await Promise.all(names.map((name, at) => engine.inspect(name, images[at]?.chosen, signal)));
    return now.every((image, at) => image?.id === images[at]?.id);
  };

  /** Returns a key of all that the bytes of the archive depend on. */
  const keyOf = async ({ names, images, nameless }: SaveJob, signal: AbortSignal): Promise<string> => {
    const { product, store } = await engine.describe(signal);
    const ids = images.map(({ id }) => id);
    const chosen = chosenPlatform(images);
    const platform = chosen && formatPlatform(chosen);
    const all = { ids, names, nameless, platform, product, store, check: CHECK_VERSION };
    return createHash('sha256').update(JSON.stringify(all)).digest('hex');
  };

  const save = async ({ names, images, nameless }: SaveJob, signal: AbortSignal): Promise<Readable> => {
    const saved = await engine.save(names, chosenPlatform(images), signal);
    const asked = images.map(({ id, listedId, platform }) => ({ ids: [id, listedId], platform }));
    return nameImages(wholeArchive(saved, asked, signal), nameless, signal);
  };

  const spool = async (kept: Spools, job: SaveJob, signal: AbortSignal): Promise<Spool> => {
    const key = await keyOf(job, signal);
    const found = await kept.find(key);
    if (found !== undefined) {
      found.hold(signal);
      return found;
    }
    const work = async (shared: AbortSignal): Promise<Spool> => {
      const onProgress = (bytes: number): void => hub.report(key, { stage: 'saving', bytes });
      const fill = async (): Promise<Spool> => {
        onProgress(0);
        const expected = job.images.reduce((sum, { size }) => sum + size, 0);
        const source = await save(job, shared);
        return kept.fill({ key, expected, maxSize, onProgress }, source, shared);
      };
      return queue.run(fill, (ahead) => hub.report(key, { stage: 'queued', ahead }), shared);
    };
    using _watching = hub.watch(key, job.report);
    const made = await share(key, work, signal);
    made.hold(signal);
    return made;
  };

  return {
    isCurrent,

    async keep(job, signal) {
      try {
        return spools && (await spool(spools, job, signal));
      } catch (error) {
        if (!(error instanceof StorageFailure)) throw error;
        log.notKept(job.names, error);
        return undefined;
      }
    },

    async stream(job, signal) {
      const stream = await save(job, signal);
      if (!(await isCurrent(job, signal))) {
        stream.destroy();
        throw changedError(job.names);
      }
      let sent = 0;
      const one = async function* (): AsyncGenerator<Readable, void> {
        yield stream;
      };
      return relay(one, signal, (chunk) => {
        sent += chunk.length;
        if (sent > maxSize) throw tooLarge(maxSize);
      });
    },
  };
}

/** Returns the error for names that changed their images during a save. */
export function changedError(names: readonly string[]): ServiceError {
  return new ServiceError('engine-failed', detail('engine-image-changed', { images: names.join(', ') }));
}

/** Returns the platform to save if all images were chosen by the same one. Otherwise, each is saved with all platforms. */
function chosenPlatform(images: readonly EngineImage[]): Platform | undefined {
  const [first, ...others] = images.map(({ chosen }) => chosen);
  const isShared = others.every((other) => first && other && samePlatform(first, other));
  return isShared ? first : undefined;
}

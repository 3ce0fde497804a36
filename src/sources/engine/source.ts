import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { archiveFilename } from '../../archive/filename.ts';
import type { ArchiveFormat } from '../../archive/format.ts';
import { StorageFailure } from '../../blobs/growing-file.ts';
import { type Spool, type Spools, tooLarge } from '../../blobs/spools.ts';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { formatPlatform, type Platform, samePlatform, selectPlatform } from '../../oci/platform.ts';
import { isSeveral } from '../../oci/platform-choice.ts';
import { formatReference, type Reference, referenceOrNone } from '../../oci/reference.ts';
import type { CredentialStore } from '../../registry/credentials.ts';
import { createSingleFlight } from '../../util/single-flight.ts';
import { relay } from '../../util/streams.ts';
import type { Archive, ArchiveRequest, ImageSource, LiveArchive, Progress } from '../image-source.ts';
import type { Engine, EngineImage } from './engine.ts';
import { engineName } from './engine-name.ts';
import type { Leases } from './leases.ts';
import { type ImageName, nameImages } from './name-images.ts';
import { createProgressHub } from './progress-hub.ts';
import type { PullProgress } from './pull-progress.ts';
import type { PulledImages } from './pulled-images.ts';
import type { Queue } from './queue.ts';
import { wholeArchive } from './whole-archive.ts';

export interface EngineSourceOptions {
  readonly engine: Engine;
  readonly leases: Leases;
  /** Each lets a few pulls, or saves, run at once. */
  readonly queues: { readonly pulls: Queue; readonly saves: Queue };
  readonly pulled: PulledImages;
  /** Where saved archives are kept; without it, each is sent as it is made. */
  readonly spools: Spools | undefined;
  readonly credentials: CredentialStore;
  /** Refuses registries that the engine may not be sent to. */
  readonly judge: (reference: Reference, signal: AbortSignal) => Promise<void>;
  readonly policy: 'always' | 'missing' | 'never';
  readonly defaultPlatform: Platform;
  /** Bytes of an archive at most. */
  readonly maxSize: number;
  readonly log: EngineSourceLog;
}

export interface EngineSourceLog {
  /** An archive cannot be kept and is sent as it is made. */
  unspooled(names: readonly string[], reason: Error): void;
  /** Something went wrong that no client has to know of. */
  untidy(error: unknown): void;
}

/** A request for one platform. */
type EngineRequest = ArchiveRequest & { readonly platform: Platform | undefined };

/** One request on its way through the engine. */
interface Job {
  readonly names: readonly string[];
  readonly images: readonly EngineImage[];
  /** What engines save without a name, though it was asked for by one. */
  readonly nameless: readonly ImageName[];
  readonly report: (progress: Progress) => void;
}

/** An image to pull. */
interface Order {
  readonly reference: Reference;
  readonly platform: Platform | undefined;
  /** Whether it is this very manifest, whatever its platform. */
  readonly isExact: boolean;
  readonly report: (progress: Progress) => void;
}

/** How often an archive is made anew where a name went to another image while it was saved. */
const SAVE_TRIES = 3;
/**
 * Version of the check of saved archives. Increase it with the check, so that archives cached before are saved again.
 */
const CHECK_VERSION = 2;

/**
 * Has a Docker engine pull images and save them. What it saves is kept on the disk, by all that its bytes depend on, so
 * that it has a length, an ETag and ranges as any archive does.
 */
export function createEngineSource(options: EngineSourceOptions): ImageSource {
  const { engine, leases, queues, pulled, spools, credentials, policy, defaultPlatform, maxSize, log } =
    options;
  const sharePull = createSingleFlight<EngineImage>();
  const shareSave = createSingleFlight<Spool>();
  const hub = createProgressHub();

  /** Sees to it that the engine has an image, and describes it. */
  const provide = async (
    reference: Reference,
    platform: Platform | undefined,
    report: Job['report'],
    signal: AbortSignal,
  ): Promise<EngineImage> => {
    const name = engineName(reference);
    // A digest without a platform means this very manifest, whatever it is for; of an index, the default one.
    const isExact = reference.digest !== undefined && platform === undefined;
    const wanted = platform ?? defaultPlatform;
    const isWanted = (image: EngineImage): boolean => isExact || isFor(wanted, image);

    const there = await engine.inspect(name, wanted, signal);
    // What a digest means never changes, so that asking again would only cost a pull.
    const mayStay = policy !== 'always' || reference.digest !== undefined;
    if (there !== undefined && mayStay && isWanted(there)) {
      await note((engineId) => pulled.used(engineId, there), signal);
      return there;
    }
    if (policy === 'never')
      throw there === undefined ? notInEngine(reference) : otherPlatform(reference, wanted, there);

    const order = { reference, isExact, report };
    const image = await pull({ ...order, platform: wanted }, signal).catch((error: unknown) => {
      const mayBeOther = error instanceof ServiceError && error.code === 'platform-not-found' && isExact;
      if (!mayBeOther) throw error;
      return pull({ ...order, platform: undefined }, signal);
    });
    if (!isWanted(image)) throw otherPlatform(reference, wanted, image);
    return image;
  };

  /** Pulls an image, once for however many want it at the same time. */
  const pull = async (order: Order, signal: AbortSignal): Promise<EngineImage> => {
    const { reference, platform, isExact, report } = order;
    const image = formatReference(reference);
    const name = engineName(reference);
    const key = `${name} ${isExact ? 'exact ' : ''}${platform === undefined ? '' : formatPlatform(platform)}`;
    const work = async (shared: AbortSignal): Promise<EngineImage> => {
      await options.judge(reference, shared);
      const found = await credentials.find(reference.domain);
      const onProgress = ({ layers, size }: PullProgress): void => {
        hub.report(key, { stage: 'pulling', image, layers });
        // What is saved of them is hardly smaller: an image that is too large need not come whole.
        if (size > maxSize) throw tooLarge(maxSize);
      };
      const wait = (ahead: number): void => hub.report(key, { stage: 'queued', ahead });
      return queues.pulls.run(
        async () => {
          const before = await engine.images(shared);
          await engine.pull({ reference, platform, credentials: found, onProgress }, shared);
          const made = await engine.inspect(name, platform, shared);
          if (made === undefined)
            throw new ServiceError('engine-failed', `The engine lost ${image} after its pull.`);
          const engineId = await note((id) => pulled.pulled(id, name, made, before), shared);
          // Nobody waits for it, and the image itself is held.
          pulled.removeSurplus(engineId, AbortSignal.timeout(REMOVAL_PATIENCE_MS)).catch(log.untidy);
          return made;
        },
        wait,
        shared,
      );
    };
    const unwatch = hub.watch(key, report);
    try {
      return await sharePull(key, work, signal);
    } finally {
      unwatch();
    }
  };

  /** Keeps the record of what was pulled; that it cannot be kept is no client's trouble. */
  const note = async (record: (engineId: string) => Promise<void>, signal: AbortSignal): Promise<string> => {
    const { id } = await engine.describe(signal);
    await record(id).catch(log.untidy);
    return id;
  };

  /** Makes sure that the names still mean what was looked at; what else was saved is not what was asked for. */
  const stillMeans = async ({ names, images }: Job, signal: AbortSignal): Promise<boolean> => {
    const now = await Promise.all(names.map((name, at) => engine.inspect(name, images[at]?.chosen, signal)));
    return now.every((image, at) => image?.id === images[at]?.id);
  };

  const keyOf = async ({ names, images, nameless }: Job, signal: AbortSignal): Promise<string> => {
    const { product, store } = await engine.describe(signal);
    const ids = images.map(({ id }) => id);
    const chosen = chosenPlatform(images);
    const all = {
      ids,
      names,
      nameless,
      platform: chosen && formatPlatform(chosen),
      product,
      store,
      check: CHECK_VERSION,
    };
    return createHash('sha256').update(JSON.stringify(all)).digest('hex');
  };

  const save = async ({ names, images, nameless }: Job, signal: AbortSignal): Promise<Readable> => {
    const saved = await engine.save(names, chosenPlatform(images), signal);
    const asked = images.map(({ id, listedId, platform }) => ({ ids: [id, listedId], platform }));
    return nameImages(wholeArchive(saved, asked, signal), nameless, signal);
  };

  /** Saves the images to the disk, once for however many want them at the same time. */
  const spool = async (kept: Spools, job: Job, signal: AbortSignal): Promise<Spool> => {
    const key = await keyOf(job, signal);
    const found = await kept.find(key);
    if (found !== undefined) {
      found.hold(signal);
      return found;
    }
    const unwatch = hub.watch(key, job.report);
    const work = async (shared: AbortSignal): Promise<Spool> => {
      const onProgress = (bytes: number): void => hub.report(key, { stage: 'saving', bytes });
      const wait = (ahead: number): void => hub.report(key, { stage: 'queued', ahead });
      return queues.saves.run(
        async () => {
          onProgress(0);
          const expected = job.images.reduce((sum, { size }) => sum + size, 0);
          const source = await save(job, shared);
          return kept.fill({ key, expected, maxSize, onProgress }, source, shared);
        },
        wait,
        shared,
      );
    };
    try {
      const made = await shareSave(key, work, signal);
      made.hold(signal);
      return made;
    } finally {
      unwatch();
    }
  };

  const open = async (
    request: EngineRequest,
    signal: AbortSignal,
    tries: number,
  ): Promise<Archive | LiveArchive> => {
    const { references, onProgress: report = () => {} } = request;
    const names = references.map(engineName);
    const platform = platformOf(request, defaultPlatform);
    const purpose = platform === undefined ? 'exact' : formatPlatform(platform);
    const releases: (() => void)[] = [];
    const release = (): void => {
      for (const giveBack of releases.splice(0)) giveBack();
    };
    try {
      // In one order for everybody, so that no two wait for each other.
      for (const name of [...new Set(names)].sort()) releases.push(await leases.take(name, purpose, signal));
      const images: EngineImage[] = [];
      for (const reference of references)
        images.push(await provide(reference, request.platform, report, signal));
      // Nobody removes, by another name, what is about to be saved.
      for (const id of [...new Set(images.map(({ listedId }) => listedId))].sort())
        releases.push(await leases.take(id, 'saved', signal));
      const job = { names, images, nameless: namesBeside(references, images), report };
      const facts = archiveFacts(request, images, defaultPlatform);
      if (spools !== undefined && request.stream !== true) {
        try {
          const { size, etag, read } = await spool(spools, job, signal);
          if (await stillMeans(job, signal)) {
            release();
            return { ...facts, size, etag, read };
          }
          release();
          if (tries > 1) return await open(request, signal, tries - 1);
          throw new ServiceError(
            'engine-failed',
            `${names.join(', ')} did not stay the same while it was saved.`,
          );
        } catch (error) {
          if (!(error instanceof StorageFailure)) throw error;
          log.unspooled(names, error);
        }
      }
      // The names have to stay what they are until the engine has begun.
      signal.throwIfAborted();
      signal.addEventListener('abort', release, { once: true });
      return { ...facts, size: undefined, start: (ended) => start(job, ended).finally(release) };
    } catch (error) {
      release();
      throw error;
    }
  };

  const start = async (job: Job, signal: AbortSignal): Promise<Readable> => {
    const stream = await save(job, signal);
    if (!(await stillMeans(job, signal))) {
      stream.destroy();
      throw new ServiceError(
        'engine-failed',
        `${job.names.join(', ')} did not stay the same while it was saved.`,
      );
    }
    let sent = 0;
    const one = async function* (): AsyncGenerator<Readable, void> {
      yield stream;
    };
    return relay(one, signal, (chunk) => {
      sent += chunk.length;
      if (sent > maxSize) throw tooLarge(maxSize);
    });
  };

  return {
    async open(request, signal) {
      const { format, platform } = request;
      requireEngineFormat(format);
      if (isSeveral(platform)) throw formatUnavailable();
      if (request.have !== undefined)
        throw new ServiceError('delta-unavailable', 'A Docker engine saves images whole.');
      return open({ ...request, platform }, signal, SAVE_TRIES);
    },
  };
}

/** Milliseconds. */
const REMOVAL_PATIENCE_MS = 10 * 60_000;

/** The only format in which engines save images. */
const ENGINE_FORMAT: ArchiveFormat = 'docker';

/** @throws ServiceError `format-unavailable` */
export function requireEngineFormat(format: ArchiveFormat): void {
  if (format !== ENGINE_FORMAT) throw formatUnavailable();
}

function formatUnavailable(): ServiceError {
  return new ServiceError(
    'format-unavailable',
    `A Docker engine saves images only in format=${ENGINE_FORMAT}.`,
  );
}

/** The platform that names are held for; undefined where digests leave none to choose. */
function platformOf({ references, platform }: EngineRequest, standard: Platform): Platform | undefined {
  const isExact = references.every(({ digest }) => digest !== undefined);
  return platform ?? (isExact ? undefined : standard);
}

/** The platform to save, where all images were chosen by one; else each comes with all that the engine has of it. */
function chosenPlatform(images: readonly EngineImage[]): Platform | undefined {
  const [first, ...others] = images.map(({ chosen }) => chosen);
  const isShared = others.every((other) => first && other && samePlatform(first, other));
  return isShared ? first : undefined;
}

/** The tags that were given beside digests, which decide what is saved. */
function namesBeside(references: readonly Reference[], images: readonly EngineImage[]): ImageName[] {
  return references.flatMap(({ name, tag, digest }, at) => {
    const image = images[at];
    if (tag === undefined || digest === undefined || image === undefined) return [];
    return [{ id: image.id, name: `${name}:${tag}` }];
  });
}

/** Tells whether an image runs on a platform. */
export function isFor(wanted: Platform, { platform }: EngineImage): boolean {
  return selectPlatform(wanted, [platform], (stated) => stated) !== undefined;
}

function archiveFacts(
  { references, platform, format }: EngineRequest,
  images: readonly EngineImage[],
  standard: Platform,
): Pick<Archive, 'filename' | 'digests' | 'zstd' | 'staleSince'> {
  const isDefault = platform === undefined || samePlatform(platform, standard);
  return {
    filename: archiveFilename({ references, format, platform: isDefault ? undefined : platform }),
    digests: images.flatMap((image, at) => digestOf(image, references[at]) ?? []),
    zstd: false,
    staleSince: undefined,
  };
}

/** Under what digest the repository has the image, where the engine knows of one alone; else the image's ID. */
export function digestOf(
  { id, repoDigests }: EngineImage,
  reference: Reference | undefined,
): Digest | undefined {
  if (reference?.digest !== undefined) return reference.digest;
  // Two manifests, of two tags or two types, may be of one image.
  const own = repoDigests.map(referenceOrNone).filter((found) => found?.name === reference?.name);
  return (own.length === 1 ? own[0]?.digest : undefined) ?? (isDigest(id) ? id : undefined);
}

/** What is not there and may not be pulled. */
export function notInEngine(reference: Reference): ServiceError {
  return new ServiceError(
    'image-not-found',
    `The engine does not have ${formatReference(reference)}, and this service pulls nothing.`,
    { reason: 'Image not in the engine' },
  );
}

/** What is there, but for another platform. */
export function otherPlatform(
  reference: Reference,
  wanted: Platform,
  { platform }: EngineImage,
): ServiceError {
  const there = formatPlatform(platform);
  return new ServiceError(
    'platform-not-found',
    detail('platform-missing', {
      image: formatReference(reference),
      platform: formatPlatform(wanted),
      platforms: there,
    }),
    {
      reason: `Not available for ${formatPlatform(wanted)}; available: ${there}`,
      members: { platforms: [there] },
    },
  );
}

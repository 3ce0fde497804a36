import { archiveFilename } from '../../archive/archive-name.ts';
import type { ArchiveFormat } from '../../archive/format.ts';
import type { Spools } from '../../blobs/spools.ts';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import { isSeveral } from '../../oci/platform-choice.ts';
import type { Reference } from '../../oci/reference.ts';
import type { Archive, ArchiveRequest, ImageSource, LiveArchive } from '../image-source.ts';
import { platformFor, statedPlatforms } from '../own-platforms.ts';
import { digestOf, type EngineImage } from './engine-images.ts';
import { engineName } from './engine-name.ts';
import type { Leases } from './leases.ts';
import type { ImageName } from './name-images.ts';
import { createProgressHub } from './progress-hub.ts';
import { createPullService, type PullServiceOptions } from './pull-service.ts';
import type { Queue } from './queue.ts';
import { changedError, createSaveService, type SaveServiceOptions } from './save-service.ts';

export interface EngineSourceOptions extends Omit<PullServiceOptions, 'queue' | 'hub' | 'log'> {
  readonly leases: Leases;
  /** The queues that limit concurrent pulls and saves. */
  readonly queues: { readonly pulls: Queue; readonly saves: Queue };
  /** Keeps saved archives. Without it, each is sent while the engine saves it. */
  readonly spools: Spools | undefined;
  readonly log: EngineSourceLog;
}

export interface EngineSourceLog extends Pick<SaveServiceOptions['log'], 'notKept'> {
  /** Logs a failure that does not affect clients. */
  untidy(error: unknown): void;
}

/** A request for one platform. */
type EngineRequest = ArchiveRequest & { readonly platform: Platform | undefined };

/** Maximum saves of one archive. A save is repeated if a name changed its image meanwhile. */
const SAVE_TRIES = 3;

/**
 * Creates a source that makes a Docker engine pull and save images. Saved archives stay on the disk, so that they have
 * a length, an ETag, and ranges.
 */
export function createEngineSource(options: EngineSourceOptions): ImageSource {
  const { leases, queues, defaultPlatform } = options;
  const hub = createProgressHub();
  const pulls = createPullService({ ...options, queue: queues.pulls, hub });
  const saves = createSaveService({ ...options, queue: queues.saves, hub });

  /** Returns undefined if a name changed its image during the save. */
  const openOnce = async (
    request: EngineRequest,
    signal: AbortSignal,
  ): Promise<Archive | LiveArchive | undefined> => {
    const { references, onProgress: report = () => {} } = request;
    const names = references.map(engineName);
    const common = { ...request, platform: platformOf(request, defaultPlatform) };
    const purposes = new Map(
      references.map((reference) => {
        const platform = platformFor(common, reference);
        return [engineName(reference), platform === undefined ? 'exact' : formatPlatform(platform)];
      }),
    );
    using held = new DisposableStack();
    // Acquire in sorted order to prevent deadlock.
    for (const [name, purpose] of [...purposes].sort()) held.use(await leases.take(name, purpose, signal));
    const images: EngineImage[] = [];
    for (const reference of references)
      images.push(await pulls.provide(reference, platformFor(request, reference), report, signal));
    // Prevent the removal of these images by other names.
    for (const id of [...new Set(images.map(({ listedId }) => listedId))].sort())
      held.use(await leases.take(id, 'saved', signal));
    const job = { names, images, nameless: namesBeside(references, images), report };
    const facts = archiveFacts(request, images, defaultPlatform);
    const kept = request.stream === true ? undefined : await saves.keep(job, signal);
    if (kept !== undefined) {
      const { size, etag, read } = kept;
      return (await saves.isCurrent(job, signal)) ? { ...facts, size, etag, read } : undefined;
    }
    signal.throwIfAborted();
    // The names must keep their images until the engine has begun.
    const untilBegun = held.move();
    const release = (): void => untilBegun.dispose();
    signal.addEventListener('abort', release, { once: true });
    return { ...facts, size: undefined, start: (ended) => saves.stream(job, ended).finally(release) };
  };

  return {
    traits: { formats: [ENGINE_FORMAT], preparesArchives: true, isReproducible: false },
    async open(request, signal) {
      const { format, platform } = request;
      requireEngineFormat(format);
      if (isSeveral(platform)) throw formatUnavailable();
      if (request.have !== undefined) throw new ServiceError('delta-unavailable', detail('engine-delta', {}));
      if (request.name !== undefined) throw new ServiceError('parameter-invalid', detail('engine-name', {}));
      for (let tries = 0; tries < SAVE_TRIES; tries++) {
        const archive = await openOnce({ ...request, platform }, signal);
        if (archive !== undefined) return archive;
      }
      throw changedError(request.references.map(engineName));
    },
  };
}

/** The only format in which engines save images. */
const ENGINE_FORMAT: ArchiveFormat = 'docker';

/** @throws ServiceError `format-unavailable` */
export function requireEngineFormat(format: ArchiveFormat): void {
  if (format !== ENGINE_FORMAT) throw formatUnavailable();
}

function formatUnavailable(): ServiceError {
  return new ServiceError(
    'format-unavailable',
    detail('engine-format', { format: `format=${ENGINE_FORMAT}` }),
  );
}

/** Returns the platform that names are leased for; undefined if digests leave no choice. */
function platformOf({ references, platform }: EngineRequest, standard: Platform): Platform | undefined {
  const isExact = references.every(({ digest }) => digest !== undefined);
  return platform ?? (isExact ? undefined : standard);
}

/** Returns the tags of references that have a digest, too. Engines save such an image by its digest. */
function namesBeside(references: readonly Reference[], images: readonly EngineImage[]): ImageName[] {
  return references.flatMap(({ name, tag, digest }, at) => {
    const image = images[at];
    if (tag === undefined || digest === undefined || image === undefined) return [];
    return [{ id: image.id, name: `${name}:${tag}` }];
  });
}

function archiveFacts(
  request: EngineRequest,
  images: readonly EngineImage[],
  standard: Platform,
): Pick<Archive, 'filename' | 'digests' | 'zstd' | 'staleSince'> {
  const { references, format } = request;
  return {
    filename: archiveFilename({ references, format, platform: statedPlatforms(request, standard) }),
    digests: images.flatMap((image, at) => digestOf(image, references[at]) ?? []),
    zstd: false,
    staleSince: undefined,
  };
}

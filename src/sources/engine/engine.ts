import type { Readable } from 'node:stream';
import type { ServiceError } from '../../errors.ts';
import { formatPlatform, type Platform, samePlatform } from '../../oci/platform.ts';
import { type Reference, type Repository, referenceOrNone } from '../../oci/reference.ts';
import type { Credentials } from '../../registry/credentials.ts';
import { streamFrom } from '../../util/streams.ts';
import { type ConnectionOptions, createConnection, type EngineFacts } from './connection.ts';
import { dial, GET, get, isAtLeast, LONGEST_SILENCE_MS, limited } from './dial.ts';
import { isOfOtherVersion, messageOf, statusOf } from './engine-error.ts';
import type { EngineImage } from './engine-images.ts';
import { pullError } from './pull-error.ts';
import { createPullProgress, jsonLines, type PullProgress } from './pull-progress.ts';
import { readImage, tagsIn } from './read-image.ts';
import { createSilenceLimit } from './silence-limit.ts';
import { wholeTar } from './whole-tar.ts';

/** An image as an engine lists it, with whatever platforms it has. */
export interface ListedImage {
  /** Bytes of all its platforms. */
  readonly size: number;
  /** In full: `docker.io/library/busybox:latest`. */
  readonly tags: readonly string[];
}

export interface PullOrder {
  readonly reference: Reference;
  /** Undefined for the engine's own platform, or for the manifest that a digest names. */
  readonly platform: Platform | undefined;
  readonly credentials: Credentials | undefined;
  /** Called with each progress report of the engine. An error that it throws ends the pull. */
  readonly onProgress: (progress: PullProgress) => void;
}

/**
 * A Docker engine, or another program with its API. All methods throw ServiceError `engine-unreachable` without an
 * answer, and `engine-failed` for an error response.
 *
 * @see https://docs.docker.com/reference/api/engine/
 */
export interface Engine {
  readonly url: string;
  /** Reads the metadata of the engine once, until it stops answering. */
  describe(signal: AbortSignal): Promise<EngineFacts>;
  /** Pings the engine. */
  ping(signal: AbortSignal): Promise<void>;
  /**
   * Inspects an image by name; undefined if the engine does not have it. If the engine keeps several platforms of a
   * name, this platform is inspected. If it is missing, the engine's choice is inspected.
   */
  inspect(
    name: string,
    platform: Platform | undefined,
    signal: AbortSignal,
  ): Promise<EngineImage | undefined>;
  /** Lists the tags of the engine's images in a repository. */
  tags(repository: Repository, signal: AbortSignal): Promise<readonly string[]>;
  /** Lists all images of the engine by ID. */
  images(signal: AbortSignal): Promise<ReadonlyMap<string, ListedImage>>;
  /** Pulls one image. @throws ServiceError explains the registry's failure */
  pull(order: PullOrder, signal: AbortSignal): Promise<void>;
  /**
   * Saves images as a stream, which resolves with the first byte. The stream fails if the tar file is incomplete.
   *
   * @param platform the platform of all images, if it is the same
   */
  save(names: readonly string[], platform: Platform | undefined, signal: AbortSignal): Promise<Readable>;
  /** Removes a name or an ID, and the image with its last name; false if the image is still in use. */
  remove(name: string, signal: AbortSignal): Promise<boolean>;
}

const PLATFORM_ON_PULL = '1.32';
/** An engine that does not keep platforms ignores the parameter, so only the others get it. */
const PLATFORM_ON_SAVE = '1.48';
const PLATFORM_ON_INSPECT = '1.49';
/**
 * Milliseconds, because dockerd itself waits without limit for a registry that accepts a connection but does not
 * respond.
 */
const REGISTRY_PATIENCE_MS = 120_000;
/** The error message for it. */
const SILENCE = 'timeout: the engine heard nothing of the registry';
export interface EngineOptions extends ConnectionOptions {
  /** Milliseconds that an engine may wait for a registry without progress; 120,000 by default. */
  readonly registryPatience?: number;
}

/** Connects to an engine by dockerode. @throws Error if the settings of the engine cannot be used */
export function createEngine({ registryPatience = REGISTRY_PATIENCE_MS, ...options }: EngineOptions): Engine {
  const { url, call } = createConnection(options);
  return {
    url,
    describe: (signal) => call(signal, async ({ facts }) => facts),

    ping: (signal) =>
      call(signal, async ({ docker }) => {
        await get(docker, '/version', {}, signal);
      }),

    inspect: (name, platform, signal) =>
      call(signal, async ({ docker, facts }) => {
        const look = (query: Record<string, string>): Promise<EngineImage | undefined> =>
          get(docker, `/images/${name}/json`, query, signal).then(readImage, noneIfMissing);
        const image = await look({});
        const hasOthers = facts.keepsPlatforms && isAtLeast(facts.apiVersion, PLATFORM_ON_SAVE);
        if (image === undefined || platform === undefined || !hasOthers) return image;
        if (!isAtLeast(facts.apiVersion, PLATFORM_ON_INSPECT))
          return samePlatform(platform, image.platform) ? { ...image, chosen: platform } : image;
        const own = await look({ platform: JSON.stringify(ociPlatform(platform)) });
        return own === undefined ? image : { ...own, listedId: image.listedId, chosen: platform };
      }),

    tags: (repository, signal) =>
      call(signal, async ({ docker }) => {
        const images = await docker.listImages({ abortSignal: limited(signal) });
        const tagged = images.flatMap(({ RepoTags }) => tagsIn(RepoTags)).map(referenceOrNone);
        const isOfIt = (found: Reference | undefined): boolean =>
          found?.domain === repository.domain && found.path === repository.path;
        return tagged.filter(isOfIt).flatMap((found) => found?.tag ?? []);
      }),

    images: (signal) =>
      call(signal, async ({ docker }) => {
        const images = await docker.listImages({ abortSignal: limited(signal) });
        return new Map(images.map(({ Id, Size, RepoTags }) => [Id, { size: Size, tags: tagsIn(RepoTags) }]));
      }),

    pull: ({ reference, platform, credentials, onProgress }, signal) =>
      call(signal, async ({ docker, facts: { apiVersion } }) => {
        const refused = (message: string): ServiceError =>
          pullError(message, { reference, platform, withCredentials: credentials !== undefined });
        const takesPlatform = platform !== undefined && isAtLeast(apiVersion, PLATFORM_ON_PULL);
        const silence = createSilenceLimit(registryPatience);
        const query = {
          fromImage: reference.name,
          // Without a tag, the engine would pull all tags of the repository.
          tag: reference.digest ?? reference.tag ?? 'latest',
          ...(takesPlatform && { platform: formatPlatform(platform) }),
          abortSignal: AbortSignal.any([signal, silence.signal]),
        };
        const progress = createPullProgress();
        try {
          const report = await docker
            .createImage(registryAuth(credentials, reference), query)
            .catch((error: unknown) => {
              throw statusOf(error) === undefined || isOfOtherVersion(error)
                ? error
                : refused(messageOf(error));
            });
          for await (const line of jsonLines(report as AsyncIterable<Buffer>)) {
            const message = progress.take(line);
            if (message !== undefined) throw refused(message);
            silence.heard(progress.isFetching ? registryPatience : LONGEST_SILENCE_MS);
            onProgress(progress);
          }
        } catch (error) {
          throw silence.signal.aborted ? refused(SILENCE) : error;
        } finally {
          silence.end();
        }
      }),

    save: (names, platform, signal) =>
      call(signal, async ({ docker }) => {
        const query = { names, ...(platform && { platform: JSON.stringify(ociPlatform(platform)) }) };
        const response = await dial(
          docker,
          { ...GET, path: '/images/get?', options: query, isStream: true },
          signal,
        );
        const chunks = response as Readable;
        // A failure before the first read must not end the process.
        chunks.on('error', () => {});
        const stream = streamFrom((ended) => wholeTar(chunks, url, ended), signal);
        // A stream that is never read does not end the response by itself.
        return stream.once('close', () => chunks.destroy());
      }),

    remove: (name, signal) =>
      call(signal, async ({ docker }) => {
        try {
          await docker.getImage(name).remove({ abortSignal: limited(signal) });
        } catch (error) {
          if (statusOf(error) === 409) return false;
          if (statusOf(error) !== 404) throw error;
        }
        return true;
      }),
  };
}

function noneIfMissing(error: unknown): undefined {
  if (statusOf(error) !== 404) throw error;
}

/** @see https://docs.docker.com/reference/api/engine/#authentication */
function registryAuth(credentials: Credentials | undefined, { domain }: Reference): object | undefined {
  const serveraddress = domain === 'docker.io' ? 'https://index.docker.io/v1/' : domain;
  switch (credentials?.kind) {
    case 'password':
      return { username: credentials.username, password: credentials.password, serveraddress };
    case 'identity-token':
      return { identitytoken: credentials.token, serveraddress };
    case 'registry-token':
      return { registrytoken: credentials.token, serveraddress };
    default:
      return undefined;
  }
}

function ociPlatform({ os, architecture, variant }: Platform): object {
  return { os, architecture, ...(variant !== undefined && { variant }) };
}

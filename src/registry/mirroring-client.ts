import { detail } from '../errors/details.ts';
import { type ErrorCode, isOutage, ServiceError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isDigest } from '../oci/digest.ts';
import type { Repository } from '../oci/reference.ts';
import { type BlobHost, streamBlob } from './blob-stream.ts';
import { type Circuit, LONGEST_PAUSE_MS } from './circuit.ts';
import type { DirectClient, RegistryClient } from './client.ts';
import type { OriginOutages } from './origin-outages.ts';

/** A mirror with its client. */
export interface Mirror {
  readonly client: DirectClient;
  readonly circuit: Circuit;
  /** True if it serves content by digest. */
  readonly canPull: boolean;
  /** True if it resolves tags. */
  readonly canResolve: boolean;
  /** The repository at a mirror. */
  locate(repository: Repository): Repository;
}

export interface MirroringClientOptions {
  /** The client of the registry itself, which is asked last. */
  readonly client: DirectClient;
  /** The mirrors of a registry in the order of requests. */
  readonly mirrorsOf: (domain: string) => readonly Mirror[];
  /** The unreachable registries, which are not asked if their mirrors lack an image. */
  readonly outages: OriginOutages;
}

/**
 * Thrown if a registry is unreachable and one of its mirrors answered that it does not have the requested object. The
 * caller decides whether that answer counts, because an image may be missing only from the mirror.
 */
export class MirrorsAloneError extends ServiceError {
  constructor(outage: ServiceError) {
    const { code, reason, headers, members, retryAfter } = outage;
    super(code, [...outage.sentences, detail('mirrors-without-image', {})], {
      reason,
      headers,
      members,
      cause: outage,
      ...(retryAfter && { retryAfter }),
    });
  }
}

/** Errors that make a mirror useless for all requests, as an outage does. */
const UNUSABLE: ReadonlySet<ErrorCode> = new Set(['registry-credentials-refused', 'address-refused']);

/**
 * Asks the mirrors of a registry before the registry itself, in their order. It continues with the next one after an
 * error, a missing object, or a wrong one. All bytes are verified, and an interrupted blob continues from the next
 * source.
 */
export function createMirroringClient({
  client,
  mirrorsOf,
  outages,
}: MirroringClientOptions): RegistryClient {
  const ask = async <T>(
    repository: Repository,
    isFit: (mirror: Mirror) => boolean,
    work: (client: RegistryClient, at: Repository) => Promise<T>,
    signal: AbortSignal,
    isAnswer: (result: T) => boolean = () => true,
  ): Promise<T> => {
    let isDenied = false;
    const shaky: Mirror[] = [];
    /** Returns the first answer from the mirrors; undefined if all of them fail. */
    const askAll = async (mirrors: Iterable<Mirror>): Promise<{ readonly result: T } | undefined> => {
      for (const mirror of mirrors) {
        try {
          const result = await work(mirror.client, mirror.locate(repository));
          mirror.circuit.succeeded();
          if (isAnswer(result)) return { result };
          isDenied = true;
        } catch (error) {
          noteFailure(mirror, error);
          if (signal.aborted) throw error;
          isDenied ||= error instanceof ServiceError && error.code === 'image-not-found';
          if (mayPass(error)) shaky.push(mirror);
        }
      }
      return undefined;
    };

    const { domain } = repository;
    const found = await askAll(admitted(mirrorsOf(domain).filter(isFit)));
    if (found !== undefined) return found.result;
    const known = isDenied ? outages.find(domain) : undefined;
    if (known !== undefined) throw new MirrorsAloneError(known);
    try {
      const result = await work(client, repository);
      outages.end(domain);
      return result;
    } catch (error) {
      if (isDenied) outages.note(domain, error);
      if (!isOutage(error) || signal.aborted) throw error;
      // Only mirrors may be reachable, so a mirror that failed temporarily is tried again, like a registry.
      const late = await askAll(shaky.splice(0));
      if (late !== undefined) return late.result;
      throw isDenied ? new MirrorsAloneError(error) : error;
    }
  };

  const hostsOf = (repository: Repository, blob: Descriptor): BlobHost[] => {
    const hosts = mirrorsOf(repository.domain)
      .filter(canPull)
      .map((mirror) => hostAt(mirror, repository, blob));
    return withSecondChance(hosts, client.blobHost(repository, blob));
  };

  const canTell = ({ canPull, canResolve }: Mirror): boolean => canPull && canResolve;
  const canPull = (mirror: Mirror): boolean => mirror.canPull;
  const canResolve = (mirror: Mirror): boolean => mirror.canResolve;

  return {
    manifest: (repository, reference, signal) =>
      ask(
        repository,
        isDigest(reference) ? canPull : canTell,
        (host, at) => host.manifest(at, reference, signal),
        signal,
      ),
    head: (repository, reference, signal) =>
      ask(
        repository,
        canResolve,
        (host, at) => host.head(at, reference, signal),
        signal,
        (found) => found !== undefined,
      ),
    tags: (repository, signal) => ask(repository, canResolve, (host, at) => host.tags(at, signal), signal),
    findBlob: (repository, digest, signal) =>
      ask(
        repository,
        canPull,
        (host, at) => host.findBlob(at, digest, signal),
        signal,
        // A mirror that has not fetched the content yet may lack it.
        (found) => found !== undefined,
      ),
    referrers: (repository, digest, signal) =>
      ask(
        repository,
        canResolve,
        (host, at) => host.referrers(at, digest, signal),
        signal,
        (found) => found !== undefined,
      ),
    checkSizes: client.checkSizes,
    blobs: (repository) => ({
      read: async (blob, range = { start: 0, end: blob.size }, signal) =>
        streamBlob(hostsOf(repository, blob), blob, range, signal),
      readPart: (blob, range, signal) => streamBlob(hostsOf(repository, blob), blob, range, signal, true),
    }),
  };
}

function hostAt(mirror: Mirror, repository: Repository, blob: Descriptor): BlobHost {
  const { client, circuit } = mirror;
  return {
    ...client.blobHost(mirror.locate(repository), blob),
    admits: circuit.admits,
    succeeded: circuit.succeeded,
    failed: (error) => noteFailure(mirror, error),
  };
}

/** Yields the mirrors whose circuit is closed. Checks each circuit only when its turn comes. */
function* admitted(mirrors: readonly Mirror[]): Generator<Mirror, void> {
  for (const mirror of mirrors) if (mirror.circuit.admits()) yield mirror;
}

/**
 * Lists the mirrors, then the registry, then again the mirrors that failed temporarily, for use if the registry is
 * unreachable.
 */
function withSecondChance(mirrors: readonly BlobHost[], registry: BlobHost): BlobHost[] {
  const shaky = new Set<BlobHost>();
  let isAlone = false;
  const first = mirrors.map((mirror) => ({
    ...mirror,
    failed: (error: unknown) => {
      if (mayPass(error)) shaky.add(mirror);
      mirror.failed?.(error);
    },
  }));
  const origin = {
    ...registry,
    failed: (error: unknown) => {
      isAlone = isOutage(error);
      registry.failed?.(error);
    },
  };
  const second = mirrors.map((mirror) => ({ ...mirror, admits: () => isAlone && shaky.has(mirror) }));
  return [...first, origin, ...second];
}

/**
 * Tells whether a failed mirror may work a moment later. A timeout does not count, because it used up the mirror's
 * time.
 */
function mayPass(error: unknown): boolean {
  return isOutage(error) && !error.isFinal && error.code !== 'registry-timeout' && error.pause === undefined;
}

/** Skips a mirror after its own failures; a missing image is not one. */
function noteFailure({ circuit }: Mirror, error: unknown): void {
  if (!(error instanceof ServiceError)) return;
  if (isMismatch(error) || UNUSABLE.has(error.code)) circuit.failed(error, LONGEST_PAUSE_MS);
  else if (isOutage(error)) circuit.failed(error, error.pause);
  else circuit.succeeded();
}

function isMismatch(error: unknown): boolean {
  return error instanceof ServiceError && error.code === 'content-mismatch';
}

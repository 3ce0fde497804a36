import { type Entry, type Layout, layoutArchive, type Slice } from '../../archive/layout.ts';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { RegistryClient } from '../../registry/client.ts';
import type { MemoryCaches } from '../../util/memory-caches.ts';

/** The memory budget of a process for manifests, configs, and tar headers of all its requests. */
export interface InlineMemory {
  /**
   * Starts counting for a request.
   *
   * @param over aborts when the request ends for any reason
   * @param client holds at most half of the budget, so that others have the rest; undefined holds any share
   */
  begin(over: AbortSignal, client?: string): InlineLease;
}

/** The memory that one request holds. */
export interface InlineLease {
  /**
   * Makes a client that counts each manifest and config that it reads.
   *
   * A config counts before it is read, by the size in its descriptor; a manifest counts once it is read.
   *
   * @throws ServiceError from its methods: `overloaded` if the budget, or the client's half of it, is used up
   */
  counted(client: RegistryClient): RegistryClient;
  /**
   * Lays out an archive by `lay`, a tar by default, and releases everything else that was counted. The layout is held until the request ends.
   * Requests for equal archives share one layout, which counts once.
   *
   * @throws ServiceError `overloaded` if the budget, or the client's half of it, is used up
   */
  keep(entries: readonly Entry[], lay?: (entries: readonly Entry[]) => Layout): Layout;
  /** Holds a layout of an earlier request, as {@link InlineLease.keep} holds a new one. @throws ServiceError as that does */
  share(layout: Layout): void;
  /** Counts bytes until the request ends. @throws ServiceError as {@link InlineLease.keep} does */
  hold(bytes: number): void;
  /** Releases everything. */
  end(): void;
}

/** Bytes. A bundle of ten images takes about 200 kB; the largest archive of all platforms, 32 MiB. */
const LIMITS = { least: 32 * 2 ** 20, most: 96 * 2 ** 20 };
/** The share of a process's memory, most of which is for code, connections and buffers. */
const MEMORY_SHARE = 1 / 8;
const RETRY_AFTER_S = 5;
/** Larger than the most that one request takes. */
const SHARE_OF_CLIENT = 0.5;

interface Shared {
  readonly layout: Layout;
  readonly bytes: number;
  /** Requests in flight, by client. The layout counts once for each client, from its first request. */
  readonly requests: Map<string | undefined, number>;
}

/** Returns the limit for a process with this memory, both in bytes. */
export function inlineLimitFor(memory: number = Number.POSITIVE_INFINITY): number {
  return Math.min(Math.max(Math.floor(memory * MEMORY_SHARE), LIMITS.least), LIMITS.most);
}

/** @param limit bytes */
export function createInlineMemory(caches: MemoryCaches, limit = LIMITS.most): InlineMemory {
  /** Layouts by ETag. */
  const layouts = new Map<string, Shared>();
  let used = 0;
  caches.list({ name: 'archive-metadata', limit, bytes: () => used });

  /** Bytes by client. */
  const shares = new Map<string | undefined, number>();

  const enter = (shared: Shared, client: string | undefined): void => {
    if (shared.requests.size === 0) used += shared.bytes;
    if (!shared.requests.has(client)) add(shares, client, shared.bytes);
    add(shared.requests, client, 1);
    layouts.set(shared.layout.etag, shared);
  };
  const leave = (shared: Shared, client: string | undefined): void => {
    add(shared.requests, client, -1);
    if (!shared.requests.has(client)) add(shares, client, -shared.bytes);
    if (shared.requests.size > 0) return;
    layouts.delete(shared.layout.etag);
    used -= shared.bytes;
  };

  return {
    begin(over, client) {
      let own = 0;
      let kept: Shared | undefined;
      const takeOwn = (bytes: number): void => {
        over.throwIfAborted();
        const share = (shares.get(client) ?? 0) + bytes;
        if (client !== undefined && share > limit * SHARE_OF_CLIENT) throw shareUsedUp();
        if (used + bytes > limit) throw usedUp();
        used += bytes;
        own += bytes;
        add(shares, client, bytes);
      };
      const endOwn = (): void => {
        used -= own;
        add(shares, client, -own);
        own = 0;
      };
      const end = (): void => {
        endOwn();
        if (kept !== undefined) leave(kept, client);
        kept = undefined;
      };
      const keepShared = (layout: Layout): Layout => {
        const shared = layouts.get(layout.etag) ?? {
          ...{ layout, bytes: inlineBytes(layout.slices), requests: new Map() },
        };
        endOwn();
        enter(shared, client);
        kept = shared;
        return shared.layout;
      };
      over.addEventListener('abort', end, { once: true });
      return {
        counted: (client) => countedClient(client, takeOwn),
        hold: takeOwn,
        keep(entries, lay = layoutArchive) {
          // The layout copies inline contents while the originals are still in memory.
          takeOwn(inlineBytes(entries));
          return keepShared(lay(entries));
        },
        share(layout) {
          takeOwn(inlineBytes(layout.slices));
          keepShared(layout);
        },
        end,
      };
    },
  };
}

function countedClient(client: RegistryClient, take: (bytes: number) => void): RegistryClient {
  return {
    ...client,
    async manifest(...asked) {
      const fetched = await client.manifest(...asked);
      take(fetched.bytes.length);
      return fetched;
    },
    blobs(repository) {
      const reader = client.blobs(repository);
      return {
        ...reader,
        async read(blob, range, ...rest) {
          take(range === undefined ? blob.size : range.end - range.start);
          return reader.read(blob, range, ...rest);
        },
      };
    },
  };
}

function inlineBytes(parts: readonly Pick<Slice, 'content'>[]): number {
  return parts.reduce((sum, { content }) => sum + (content instanceof Uint8Array ? content.length : 0), 0);
}

function add<K>(counts: Map<K, number>, key: K, more: number): void {
  const count = (counts.get(key) ?? 0) + more;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}

function shareUsedUp(): ServiceError {
  return new ServiceError('overloaded', detail('memory-client', {}), { retryAfter: RETRY_AFTER_S });
}

function usedUp(): ServiceError {
  return new ServiceError('overloaded', detail('memory-archives', {}), { retryAfter: RETRY_AFTER_S });
}

import type { LookupAddress } from 'node:dns';
import type { Dispatcher } from 'undici';
import { createLargeDocuments, type LargeDocuments } from '../util/large-documents.ts';
import { createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';
import { untilAborted } from '../util/until-aborted.ts';
import { checkName } from './check-host.ts';
import { createDispatchers, isOwn, type OwnOrigin } from './dispatchers.ts';
import { exchange } from './exchange.ts';
import { followRedirects, type Hop } from './follow-redirects.ts';
import type { Guard } from './guard.ts';
import type { HttpClient, HttpRequest, HttpResponse } from './http.ts';
import { createStrangerLookup, lookupBySystem } from './name-lookup.ts';
import { createBreakWatch } from './one-more-try.ts';
import type { FindProxy } from './proxies.ts';
import { createReadBuffers } from './read-buffers.ts';
import { proxyError, upstreamError } from './upstream-error.ts';

export interface HttpClientOptions {
  readonly guard: Guard;
  /**
   * Resolves a name to all its addresses. The default is {@link createStrangerLookup}, and the system's resolver for
   * listed origins.
   */
  readonly lookup?: (hostname: string) => Promise<LookupAddress[]>;
  /**
   * Milliseconds without progress until a connection, a response, or a body fails. Connecting and receiving the head of
   * the response may take twice that in total.
   */
  readonly idleTimeout?: number;
  /**
   * Milliseconds to connect: DNS lookup, TCP, and TLS. The default is 10 s, or `idleTimeout` if that is less.
   */
  readonly connectTimeout?: number;
  readonly userAgent: string;
  readonly own?: OwnOrigin;
  /** The proxies for internet access; none if absent. */
  readonly findProxy?: FindProxy;
  /** Called with every response, including redirects; without a status after a failure. */
  readonly onAnswer?: (host: string, status: number | undefined, header: HttpResponse['header']) => void;
  /** The list of in-memory caches. */
  readonly caches?: MemoryCaches;
  /** Bounds the large bodies that are read at once. The client's own if absent. */
  readonly large?: LargeDocuments;
}

/** Maximum bytes: about 1,000 origins. Clients can choose them. */
const ODD_ORIGINS_LIMIT = 256 * 1024;
const DEFAULT_IDLE_TIMEOUT = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** Maximum bytes of unused buffers that are kept. A fetch and its readers use several buffers at once. */
const READ_BUFFERS_KEPT = 4 * 1024 * 1024;

export function createHttpClient(options: HttpClientOptions): HttpClient {
  const { guard, userAgent, own, idleTimeout = DEFAULT_IDLE_TIMEOUT, onAnswer = () => {} } = options;
  const { findProxy = () => undefined, connectTimeout = Math.min(idleTimeout, CONNECT_TIMEOUT_MS) } = options;
  const { lookup: strangerLookup = createStrangerLookup(), lookup: ownLookup = lookupBySystem } = options;
  const uptime = (): number => performance.now();
  const { caches = createMemoryCaches(uptime), large = createLargeDocuments(0) } = options;
  const buffers = createReadBuffers(READ_BUFFERS_KEPT, uptime, caches);
  const breaks = createBreakWatch();
  const dispatchers = createDispatchers({
    ...{ guard, own, strangerLookup, ownLookup, idleTimeout, connectTimeout, buffers },
    watch: breaks.watch,
  });
  /** Origins whose responses the parser refuses unless they are repaired. */
  const odd = caches.open<true>({ name: 'odd-origins', limit: ODD_ORIGINS_LIMIT });

  const sendOnce = async (hop: Hop, request: HttpRequest, signal: AbortSignal): Promise<HttpResponse> => {
    const { url } = hop;
    const { origin, host } = url;
    const { method = 'GET', chosenBy } = request;
    guard.checkUrl(url, chosenBy);
    const proxy = findProxy(url);
    const headers = {
      ...(isOwn(own, origin, chosenBy) && own?.headers),
      ...{ 'user-agent': userAgent, 'accept-encoding': 'identity', ...hop.headers },
    };
    const ways = await dispatchers.waysTo(origin, chosenBy, proxy);
    // undici counts interim responses as progress, however many arrive.
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(new DOMException('', 'TimeoutError')), 2 * idleTimeout);
    const ended = AbortSignal.any([signal, deadline.signal]);
    const noteOdd = (error: unknown): void => {
      if (breaks.reasonFor(error) === 'odd') odd.set(origin, true);
    };
    const attempt = async (dispatcher: Dispatcher): Promise<HttpResponse> => {
      try {
        const answer = await exchange(dispatcher, url, { ...request, headers }, ended);
        answer.body.once('error', noteOdd);
        onAnswer(host, answer.status, answer.header);
        const holdLarge = <T>(work: () => Promise<T>): Promise<T> => large.read(work, signal);
        return { ...answer, method, url, release: buffers.release, holdLarge };
      } catch (error) {
        if (!signal.aborted) onAnswer(host, undefined, () => undefined);
        throw error;
      }
    };
    try {
      // The proxy resolves the name itself. Only the addresses that it resolves to here can be checked.
      if (proxy !== undefined && !guard.trusts(origin, chosenBy)) {
        await untilAborted(checkName(guard, url.hostname, strangerLookup), ended);
      }
      if (odd.get(origin) === true) return await attempt(ways.single);
      return await attempt(ways.pooled).catch((error: unknown) => {
        noteOdd(error);
        const isWorthIt = method !== 'POST' && breaks.reasonFor(error) !== undefined;
        if (!isWorthIt || signal.aborted) throw error;
        return attempt(ways.single);
      });
    } catch (error) {
      const cause = signal.aborted ? error : proxyError(error, proxy);
      throw upstreamError(cause, host, { isProxied: proxy !== undefined, isFinal: method === 'POST' });
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    request(url, given, signal) {
      // The origin that chose the first URL is responsible for its redirects, too.
      const request = { chosenBy: url.origin, ...given };
      return followRedirects(url, request, (hop) => sendOnce(hop, request, signal));
    },
    close: () => dispatchers.close(),
  };
}

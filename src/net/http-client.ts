import type { LookupAddress } from 'node:dns';
import type { LookupFunction, OnReadOpts } from 'node:net';
import type { Readable } from 'node:stream';
import { setImmediate as immediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { Dispatcher } from 'undici';
// undici's index would load 85 more files, including fetch and WebSocket, which takes 60 ms and 14 MB.
import send from 'undici/lib/api/api-request.js';
import buildConnector from 'undici/lib/core/connect.js';
import Agent from 'undici/lib/dispatcher/agent.js';
import Pool from 'undici/lib/dispatcher/pool.js';
import { ServiceError } from '../errors.ts';
import { type HostTls, PLAIN_TLS } from '../oci/registry-host.ts';
import { nodeTls } from '../util/builtins.ts';
import { createGate, type Gate } from '../util/gate.ts';
import { createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';
import { trustSystemAuthorities } from '../util/system-authorities.ts';
import { untilAborted } from '../util/until-aborted.ts';
import type { Guard } from './guard.ts';
import { createStrangerLookup, type Lookup, lookupBySystem } from './name-lookup.ts';
import {
  createBreakWatch,
  isPlainLength,
  mending,
  type Ways,
  type WrapConnector,
  wrongLength,
} from './one-more-try.ts';
import type { FindProxy } from './proxies.ts';
import { createReadBuffers } from './read-buffers.ts';
import { type Hop, nextHop } from './redirect.ts';
import { HEAD_LIMIT } from './response-head.ts';

/** A request; redirects of GET and HEAD are followed, POST is not redirected. */
export interface HttpRequest {
  readonly method?: 'GET' | 'HEAD' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /**
   * Who chose the URL: the origin of the registry that named it, or {@link ANYONE}. Absent where the URL is a
   * registry's own.
   */
  readonly chosenBy?: string;
}

/** Chose a URL that stands in an image: no origin that the operator could have listed. */
export const ANYONE = 'anyone';

/** A response whose body the caller reads, drains or destroys. */
export interface HttpResponse {
  readonly status: number;
  /** The method of the request; GET where absent. */
  readonly method?: HttpRequest['method'];
  /** The URL that answered, after redirects. */
  readonly url: URL;
  /** Returns the first line of a header; for lists such as Link, all lines joined by commas. */
  header(name: string): string | undefined;
  readonly body: Readable;
  /** Gives back the memory of a chunk of the body, see {@link ReadBuffers.release}; nobody has to. */
  release(chunk: Uint8Array): void;
  /** Runs work that holds a large body in memory when there is room for it; at once where absent. */
  readonly holdLarge?: <T>(work: () => Promise<T>) => Promise<T>;
}

/** The one way out: every request, every redirect and every connection passes the guard. */
export interface HttpClient {
  /**
   * Sends a request and waits for the response's headers.
   *
   * @throws ServiceError `address-refused`, `registry-timeout`, `registry-failed`; AbortError
   */
  request(url: URL, request: HttpRequest, signal: AbortSignal): Promise<HttpResponse>;
  close(): Promise<void>;
}

export interface HttpClientOptions {
  readonly guard: Guard;
  /** Resolves a name to all its addresses; {@link createStrangerLookup}, or the system for listed origins, where absent. */
  readonly lookup?: (hostname: string) => Promise<LookupAddress[]>;
  /**
   * Milliseconds without progress before a connection, an answer or a body is given up; a connection and the head of
   * its answer have twice that together.
   */
  readonly idleTimeout?: number;
  /**
   * Milliseconds to connect: DNS lookup, TCP, and TLS. The default is 10 s, or `idleTimeout` if that is less.
   */
  readonly connectTimeout?: number;
  readonly userAgent: string;
  readonly own?: OwnOrigin;
  /** The proxies that the operator has put before the internet; none where absent. */
  readonly findProxy?: FindProxy;
  /** Told of every answer, redirects included; without a status where there was none. */
  readonly onAnswer?: (host: string, status: number | undefined, header: HttpResponse['header']) => void;
  /** The list of in-memory caches. */
  readonly caches?: MemoryCaches;
  /** Bounds the large bodies that are read at once; see {@link createLargeBodyGate}. The client's own where absent. */
  readonly largeBodies?: Gate;
}

/** What is for one origin alone, and goes nowhere else on a redirect. */
export interface OwnOrigin {
  readonly origin: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: HostTls;
}

/** Go's client, and with it Docker, gives up after 10 requests; containerd and curl follow more redirects. */
const MAX_REDIRECTS = 10;
/** Headers whose lines form one list. @see https://www.rfc-editor.org/rfc/rfc9110#section-5.3 */
const LISTS: ReadonlySet<string> = new Set(['link', 'www-authenticate']);
/** Maximum bytes: about 1,000 origins. Clients can choose them. */
const ODD_ORIGINS_LIMIT = 256 * 1024;
const REDIRECT_BODY_LIMIT = 64 * 1024;
const DRAIN_TIMEOUT_MS = 5_000;
const DEFAULT_IDLE_TIMEOUT = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;
const unzip = promisify(gunzip);
const READ_BUFFERS_KEPT = 1024 * 1024;

type ProxyAgentClass = typeof import('undici').ProxyAgent;

/** Bytes. Larger bodies of metadata are rare: most manifests have 20 kB, and the largest real indexes some 200 kB. */
const SMALL_BODY = 256 * 1024;
/** Bytes that are reserved for a body of unknown length. */
const FIRST_BODY = 16 * 1024;
const LARGE_BODIES_AT_ONCE = 2;

/**
 * Bounds the memory of large bodies of metadata while they are read. Strangers choose their number, and what counts a
 * body once it is read comes too late for many at once. Clients of one process share it.
 */
export function createLargeBodyGate(): Gate {
  return createGate(LARGE_BODIES_AT_ONCE);
}

export function createHttpClient(options: HttpClientOptions): HttpClient {
  const { guard, userAgent, own, idleTimeout = DEFAULT_IDLE_TIMEOUT, onAnswer = () => {} } = options;
  const { findProxy = () => undefined } = options;
  const strangerLookup = options.lookup ?? createStrangerLookup();
  const ownLookup = options.lookup ?? lookupBySystem;
  const { connectTimeout = Math.min(idleTimeout, CONNECT_TIMEOUT_MS) } = options;
  const timeouts = {
    headersTimeout: idleTimeout,
    // Between two chunks; undici does not count while the reader holds the body back.
    bodyTimeout: idleTimeout,
    // One connection each for parallel blobs: HTTP/2 would put them all through one window.
    allowH2: false,
  };
  const uptime = (): number => performance.now();
  const { caches = createMemoryCaches(uptime), largeBodies = createLargeBodyGate() } = options;
  const { onread, release } = createReadBuffers(READ_BUFFERS_KEPT, uptime, caches);
  const breaks = createBreakWatch();
  /** Origins whose responses the parser refuses unless they are repaired. */
  const odd = caches.open<true>({ name: 'odd-origins', limit: ODD_ORIGINS_LIMIT });
  const common = { ...timeouts, maxHeaderSize: HEAD_LIMIT };
  const waysBy = (dispatcher: (wrap: WrapConnector, pool: Pool.Options) => Dispatcher): Ways => ({
    pooled: dispatcher(breaks.watch, common),
    // Without pipelining, undici closes each connection after its response.
    single: dispatcher(mending, { ...common, pipelining: 0 }),
  });
  const waysFor = (judge: Guard['judgeAddresses'], lookup: Lookup, tls?: HostTls): Ways => {
    const connect = connectorFor(lookup, { timeout: connectTimeout }, onread, judge, tls);
    return waysBy((wrap, pool) => new Agent({ ...pool, connect: wrap(connect) }));
  };
  // Apart, so that nobody gets a connection that another one was allowed.
  const judged = waysFor(guard.judgeAddresses, strangerLookup);
  const trusted = waysFor(() => {}, ownLookup);
  const ownWays = own && waysFor(judgeUnlessTrusted(guard, own), ownLookup, own.tls);

  /** Nobody but the origin itself leads to it by its own way. */
  const isOwn = (origin: string, chosenBy: string | undefined): boolean =>
    origin === own?.origin && (chosenBy ?? origin) === origin;
  const proxied = new Map<string, Ways>();
  const proxiedWays = ({ href: uri }: URL, withOwn: boolean, ProxyAgent: ProxyAgentClass): Ways => {
    const requestTls = tlsOptions(withOwn ? own?.tls : undefined);
    return waysBy((wrap, pool) => {
      // undici creates the connector, and ignores other options if it doesn't open a tunnel.
      const factory = (origin: string | URL, made: { readonly connect: buildConnector.connector }): Pool =>
        new Pool(origin, { ...made, ...pool, connect: wrap(made.connect) });
      return new ProxyAgent({ ...pool, uri, requestTls, connectTimeout, factory });
    });
  };
  const waysTo = async (
    origin: string,
    chosenBy: string | undefined,
    proxy: URL | undefined,
  ): Promise<Ways> => {
    if (proxy !== undefined) {
      // Import the index, because it adds the method with which the agent opens tunnels.
      const { ProxyAgent } = await import('undici');
      const withOwn = isOwn(origin, chosenBy);
      const key = `${withOwn} ${proxy.href}`;
      const ways = proxied.get(key) ?? proxiedWays(proxy, withOwn, ProxyAgent);
      proxied.set(key, ways);
      return ways;
    }
    if (ownWays !== undefined && isOwn(origin, chosenBy)) return ownWays;
    return guard.trusts(origin, chosenBy) ? trusted : judged;
  };

  const sendOnce = async (
    hop: Hop,
    { method = 'GET', body, chosenBy }: HttpRequest,
    signal: AbortSignal,
  ): Promise<HttpResponse> => {
    guard.judgeUrl(hop.url, chosenBy);
    const proxy = findProxy(hop.url);
    const headers = {
      ...(isOwn(hop.url.origin, chosenBy) && own?.headers),
      ...{ 'user-agent': userAgent, 'accept-encoding': 'identity', ...hop.headers },
    };
    const { origin, host, pathname, search } = hop.url;
    const ways = await waysTo(origin, chosenBy, proxy);
    // Interim answers count as progress with undici, for ever.
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(new DOMException('', 'TimeoutError')), 2 * idleTimeout);
    const ended = AbortSignal.any([signal, deadline.signal]);
    const attempt = async (dispatcher: Dispatcher): Promise<HttpResponse> => {
      try {
        const sent = send.call(dispatcher, {
          origin,
          path: `${pathname}${search}`,
          method,
          headers,
          body: body ?? null,
          signal: ended,
          // Otherwise, undici closes the connection after each HEAD.
          reset: false,
        });
        // undici acts on a signal only once the request is on a connection.
        const response = await untilAborted(sent, ended, (late) => late.body.on('error', () => {}).destroy());
        if (!isPlainLength(response.headers['content-length'])) {
          response.body.destroy();
          throw wrongLength();
        }
        const header = (name: string): string | undefined => {
          const lines = [response.headers[name] ?? []].flat();
          return (LISTS.has(name) ? lines.join(', ') : lines[0]) || undefined;
        };
        response.body.once('error', noteOdd);
        onAnswer(host, response.statusCode, header);
        const { statusCode: status, body: stream } = response;
        const holdLarge = <T>(work: () => Promise<T>): Promise<T> => largeBodies.run(work, signal);
        return { status, method, url: hop.url, header, body: stream, release, holdLarge };
      } catch (error) {
        if (!signal.aborted) onAnswer(host, undefined, () => undefined);
        throw error;
      }
    };
    const noteOdd = (error: unknown): void => {
      if (breaks.reasonFor(error) === 'odd') odd.set(origin, true);
    };
    try {
      // The proxy resolves the name itself. Only the addresses that it resolves to here can be checked.
      if (proxy !== undefined && !guard.trusts(origin, chosenBy)) {
        await untilAborted(judgeName(guard, hop.url.hostname, strangerLookup), ended);
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
    async request(url, given, signal) {
      // Whoever chose the first URL has chosen where it redirects to.
      const request = { chosenBy: url.origin, ...given };
      let hop: Hop = { url, headers: request.headers ?? {}, remaining: MAX_REDIRECTS };
      for (;;) {
        const response = await sendOnce(hop, request, signal);
        const next =
          request.method === 'POST' ? undefined : nextHop(hop, response.status, response.header('location'));
        if (next === undefined) return response;
        await drain(response);
        hop = next;
      }
    },
    async close() {
      const ways = [judged, trusted, ...(ownWays ? [ownWays] : []), ...proxied.values()];
      const agents = ways.flatMap(({ pooled, single }) => [pooled, single]);
      await Promise.all(agents.map((agent) => agent.close()));
    },
  };
}

const GZIP_MAGIC = Buffer.from([0x1f, 0x8b]);

/**
 * Reads a small body whole, and decompresses it if its Content-Encoding is gzip. Some servers compress without being
 * asked, which Go's client doesn't notice because it always accepts gzip.
 *
 * @param limit in bytes, for the compressed and for the decompressed body
 * @throws ServiceError `registry-failed` past the limit, and where it cannot be unpacked
 */
export async function readBody(response: HttpResponse, limit: number): Promise<Buffer> {
  const { holdLarge = <T>(work: () => Promise<T>): Promise<T> => work() } = response;
  const iterator = (response.body as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  const stated = response.method === 'HEAD' ? 0 : Number(response.header('content-length') ?? 0);
  let body: Buffer = Buffer.allocUnsafeSlow(Math.min(stated || FIRST_BODY, SMALL_BODY, limit));
  let length = 0;
  const add = (chunk: Buffer): void => {
    if (length + chunk.length > body.length) {
      const wanted = Math.max(length + chunk.length, Math.min(stated || 2 * body.length, limit));
      body = Buffer.concat([body.subarray(0, length)], wanted);
    }
    length += chunk.copy(body, length);
    response.release(chunk);
  };
  /** Reads at most one chunk more than these bytes. Returns whether the body has ended. */
  const readTo = async (bytes: number): Promise<boolean> => {
    while (length <= bytes) {
      const { done, value } = await iterator.next();
      if (done === true) return true;
      if (length + value.length > limit) throw tooLong(response, limit);
      add(value);
    }
    return false;
  };
  try {
    const isSmall = await readTo(SMALL_BODY);
    if (!isSmall) await holdLarge(() => readTo(limit));
  } catch (error) {
    response.body.destroy();
    throw upstreamError(error, response.url.host, { isFinal: response.method === 'POST' });
  }
  // undici reuses the connection one turn of the event loop later; an earlier request would open another one.
  await immediate();
  const bytes = body.subarray(0, length);
  const isPacked = /^(?:x-)?gzip$/i.test(response.header('content-encoding') ?? '');
  if (!isPacked || !bytes.subarray(0, 2).equals(GZIP_MAGIC)) return bytes;
  // A small body may become a large one.
  return holdLarge(() => unpacked(bytes, response, limit));
}

function tooLong({ url }: HttpResponse, limit: number): ServiceError {
  return new ServiceError('registry-failed', `${url.host} sent more than ${limit} bytes of metadata.`, {
    isFinal: true,
  });
}

async function unpacked(bytes: Buffer, { url }: HttpResponse, limit: number): Promise<Buffer> {
  try {
    return await unzip(bytes, { maxOutputLength: limit });
  } catch (cause) {
    throw new ServiceError('registry-failed', `${url.host} sent a gzip body that cannot be decompressed.`, {
      isFinal: true,
      cause,
    });
  }
}

/** Reads what is left of a short body, so that its connection can be used again; gives up on a long or slow one. */
export async function drain(response: HttpResponse, timeout = DRAIN_TIMEOUT_MS): Promise<void> {
  const timer = setTimeout(() => response.body.destroy(), timeout);
  await readBody(response, REDIRECT_BODY_LIMIT).catch(() => response.body.destroy());
  clearTimeout(timer);
}

interface UpstreamErrorOptions {
  readonly isProxied?: boolean;
  /** Whether the request must not be repeated after any failure. */
  readonly isFinal?: boolean;
}

/** Converts a network error into a ServiceError that names the host. An AbortError stays as it is. */
export function upstreamError(
  error: unknown,
  upstream: string,
  { isProxied = false, isFinal = false }: UpstreamErrorOptions = {},
): Error {
  const host = isProxied ? `${upstream} (through a proxy)` : upstream;
  if (error instanceof ServiceError) return error;
  if (!(error instanceof Error))
    return new ServiceError('registry-failed', `${host} failed.`, { isFinal, cause: error });
  if (error.name === 'AbortError') return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (/TIMEOUT|ETIMEDOUT/.test(code) || error.name === 'TimeoutError') {
    return new ServiceError('registry-timeout', `${host} did not answer in time.`, {
      reason: `${host} did not answer in time`,
      isFinal,
      isUnreachable: UNREACHABLE.has(code),
      cause: error,
    });
  }
  const why = CONNECTION_FAILURES.get(code) ?? 'the connection failed';
  return new ServiceError('registry-failed', `${host} could not be read: ${why}.`, {
    reason: `${host}: ${why}`,
    isFinal: isFinal || LASTING_FAILURES.test(code),
    isUnreachable: UNREACHABLE.has(code),
    cause: error,
  });
}

/**
 * Recognizes a refusal by a proxy. undici reports it only as an abort (with CONNECT) or an argument error (without),
 * with the status in the message.
 */
function proxyError(error: unknown, proxy: URL | undefined): unknown {
  if (proxy === undefined || !(error instanceof Error) || !('code' in error)) return error;
  const [, status] = /\((407)\)/.exec(error.message) ?? [];
  const refused = proxy.username === '' ? PROXY_WANTS_CREDENTIALS : PROXY_REFUSES_CREDENTIALS;
  const code = status === undefined ? PROXY_REFUSES : refused;
  const isRefusal = status !== undefined || error.code === 'UND_ERR_ABORTED';
  return isRefusal ? Object.assign(new Error(error.message, { cause: error }), { code }) : error;
}

const PROXY_REFUSES = 'PROXY_REFUSES';
const PROXY_WANTS_CREDENTIALS = 'PROXY_WANTS_CREDENTIALS';
const PROXY_REFUSES_CREDENTIALS = 'PROXY_REFUSES_CREDENTIALS';

const CONNECTION_FAILURES = new Map([
  [PROXY_REFUSES, 'the proxy refuses to connect to it'],
  [PROXY_WANTS_CREDENTIALS, 'the proxy requires credentials; the operator can add them to its URL'],
  [PROXY_REFUSES_CREDENTIALS, 'the proxy rejects the credentials in its URL'],
  ['ENOTFOUND', 'the host does not exist'],
  ['EAI_AGAIN', 'its name could not be resolved'],
  ['ECONNREFUSED', 'it refused the connection'],
  ['ECONNRESET', 'it closed the connection'],
  ['UND_ERR_SOCKET', 'it closed the connection'],
  ['EHOSTUNREACH', 'the network has no route to it'],
  ['ENETUNREACH', 'the network has no route to it'],
  ['CERT_HAS_EXPIRED', 'its certificate has expired'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'its certificate is self-signed'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'its certificate is not from a trusted authority'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'its certificate is not from a trusted authority'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'its certificate is for another host'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'it does not speak HTTPS'],
]);

/** Failures that a retry cannot fix: a wrong name, certificate or protocol is still wrong a second later. */
const LASTING_FAILURES = /CERT|SELF_SIGNED|UNABLE_TO_|WRONG_VERSION|^ENOTFOUND$/;

/** Error codes of failures to connect. */
const UNREACHABLE: ReadonlySet<string> = new Set([
  PROXY_REFUSES,
  'UND_ERR_CONNECT_TIMEOUT',
  'ETIMEDOUT',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/**
 * Connects to exactly the addresses that were judged: the look-up hook hands out what it judged, and a literal, for
 * which no look-up happens, was judged with the URL.
 */
function connectorFor(
  lookup: Lookup,
  options: buildConnector.BuildOptions,
  onread: OnReadOpts,
  judge: Guard['judgeAddresses'],
  tls: HostTls | undefined,
): buildConnector.connector {
  const hook: LookupFunction = (hostname, { all }, callback) => {
    const fail = (error: NodeJS.ErrnoException): void => callback(error, []);
    lookup(hostname).then((addresses) => {
      try {
        judge(hostname, addresses);
      } catch (error) {
        return fail(error as ServiceError);
      }
      const [first] = addresses;
      // An empty list would go unnoticed until the connection reads its first address, outside any handler.
      if (first === undefined) return fail(Object.assign(new Error('No address'), { code: 'ENOTFOUND' }));
      if (all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    }, fail);
  };
  const shared = { ...options, allowH2: false, autoSelectFamily: true, lookup: hook };
  const plain = buildConnector({ ...shared, onread });
  // TLS records are so small that pooling their buffers takes longer than allocating new ones.
  let secure: buildConnector.connector | undefined;
  return (target, callback) => {
    if (target.protocol !== 'https:') return plain(target, callback);
    try {
      secure ??= buildConnector({ ...shared, ...tlsOptions(tls) });
    } catch (error) {
      return callback(error as Error, null);
    }
    secure(target, callback);
  };
}

/** Judges what a name means here, where it means anything. */
async function judgeName(guard: Guard, hostname: string, lookup: Lookup): Promise<void> {
  const addresses = await lookup(hostname.replace(/^\[|\]$/g, '')).catch(() => []);
  guard.judgeAddresses(hostname, addresses);
}

/** An origin with a way of its own that the operator has not listed is judged like any other. */
function judgeUnlessTrusted(guard: Guard, { origin }: OwnOrigin): Guard['judgeAddresses'] {
  return (hostname, addresses) => {
    if (!guard.trusts(origin)) guard.judgeAddresses(hostname, addresses);
  };
}

/**
 * Returns the TLS options for a host. As in containerd and Docker, its own authorities are trusted in addition to the
 * default ones, which include those of the system. The list is parsed here once, not for each connection.
 */
function tlsOptions({ authorities, certificate, key, skipVerify }: HostTls = PLAIN_TLS) {
  trustSystemAuthorities();
  const { createSecureContext, getCACertificates } = nodeTls();
  const isOwn = authorities.length > 0 || certificate !== undefined;
  const ca = authorities.length > 0 ? [...getCACertificates('default'), ...authorities] : undefined;
  const cert = certificate && { cert: certificate, key: key ?? certificate };
  return {
    ...(isOwn && { secureContext: createSecureContext({ ...(ca && { ca }), ...cert }) }),
    ...(skipVerify && { rejectUnauthorized: false }),
  };
}

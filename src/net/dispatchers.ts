import type { Dispatcher } from 'undici';
import type buildConnector from 'undici/lib/core/connect.js';
import Agent from 'undici/lib/dispatcher/agent.js';
import Pool from 'undici/lib/dispatcher/pool.js';
import type { HostTls } from '../oci/registry-host.ts';
import { connectorFor, tlsOptions } from './connector.ts';
import type { Guard } from './guard.ts';
import type { Lookup } from './name-lookup.ts';
import { mending, type Ways, type WrapConnector } from './one-more-try.ts';
import type { ReadBuffers } from './read-buffers.ts';
import { HEAD_LIMIT } from './response-head.ts';

/** Headers and TLS options for one origin, which no redirect takes to another origin. */
export interface OwnOrigin {
  readonly origin: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: HostTls;
}

/** The connections of a client, kept apart by the addresses that they may reach. */
export interface Dispatchers {
  /**
   * Returns the dispatchers for a request.
   *
   * @param chosenBy as in {@link Guard.trusts}
   */
  waysTo(origin: string, chosenBy: string | undefined, proxy: URL | undefined): Promise<Ways>;
  close(): Promise<void>;
}

export interface DispatcherOptions {
  readonly guard: Guard;
  readonly own: OwnOrigin | undefined;
  /** Resolves names that strangers choose. */
  readonly strangerLookup: Lookup;
  /** Resolves names that the operator has listed. */
  readonly ownLookup: Lookup;
  /** Milliseconds, as in `HttpClientOptions`. */
  readonly idleTimeout: number;
  readonly connectTimeout: number;
  readonly buffers: ReadBuffers;
  /** Watches pooled connections. */
  readonly watch: WrapConnector;
}

type ProxyAgentClass = typeof import('undici').ProxyAgent;

export function createDispatchers(options: DispatcherOptions): Dispatchers {
  const { guard, own, strangerLookup, ownLookup, idleTimeout, connectTimeout, buffers, watch } = options;
  const common = {
    headersTimeout: idleTimeout,
    // Between two chunks; undici does not count while the reader holds the body back.
    bodyTimeout: idleTimeout,
    // One connection each for parallel blobs: HTTP/2 would put them all through one window.
    allowH2: false,
    maxHeaderSize: HEAD_LIMIT,
  };
  const waysBy = (dispatcher: (wrap: WrapConnector, pool: Pool.Options) => Dispatcher): Ways => ({
    pooled: dispatcher(watch, common),
    // Without pipelining, undici closes each connection after its response.
    single: dispatcher(mending, { ...common, pipelining: 0 }),
  });
  const direct = (check: Guard['checkAddresses'], lookup: Lookup, tls?: HostTls): Ways => {
    const connect = connectorFor(lookup, { timeout: connectTimeout }, buffers, check, tls);
    return waysBy((wrap, pool) => new Agent({ ...pool, connect: wrap(connect) }));
  };
  // Apart, so that no request gets a connection that only another one was allowed.
  const checked = direct(guard.checkAddresses, strangerLookup);
  const trusted = direct(() => {}, ownLookup);
  const ownWays = own && direct(checkUnlessTrusted(guard, own), ownLookup, own.tls);

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

  return {
    async waysTo(origin, chosenBy, proxy) {
      const withOwn = isOwn(own, origin, chosenBy);
      if (proxy !== undefined) {
        // Import the index, because it adds the method with which the agent opens tunnels.
        const { ProxyAgent } = await import('undici');
        const key = `${withOwn} ${proxy.href}`;
        const ways = proxied.get(key) ?? proxiedWays(proxy, withOwn, ProxyAgent);
        proxied.set(key, ways);
        return ways;
      }
      if (ownWays !== undefined && withOwn) return ownWays;
      return guard.trusts(origin, chosenBy) ? trusted : checked;
    },
    async close() {
      const ways = [checked, trusted, ...(ownWays ? [ownWays] : []), ...proxied.values()];
      const agents = ways.flatMap(({ pooled, single }) => [pooled, single]);
      await Promise.all(agents.map((agent) => agent.close()));
    },
  };
}

/** Tells whether a request gets the origin's own headers and TLS options: only if the origin itself chose its URL. */
export function isOwn(own: OwnOrigin | undefined, origin: string, chosenBy: string | undefined): boolean {
  return origin === own?.origin && (chosenBy ?? origin) === origin;
}

/** Checks the addresses of an own origin like any other's unless the operator has listed it. */
function checkUnlessTrusted(guard: Guard, { origin }: OwnOrigin): Guard['checkAddresses'] {
  return (hostname, addresses) => {
    if (!guard.trusts(origin)) guard.checkAddresses(hostname, addresses);
  };
}

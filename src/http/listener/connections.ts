import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyBaseLogger } from 'fastify';
import { clientKey } from '../../limits/client-key.ts';
import { type AddressRange, parseIpAddress } from '../../util/ip-address.ts';
import { createMinimumRate, type MinimumRate, type MinimumRateLimits } from '../../util/minimum-rate.ts';

/** The limits of connections. */
export interface ConnectionLimits {
  /** For the whole service; 0 sets no limit. */
  readonly maxConnections: number;
  /** For one client, by IPv4 address or IPv6 /64; 0 sets no limit. */
  readonly connectionsPerClient: number;
  /** Proxies, which connect for many clients. */
  readonly exempt: readonly AddressRange[];
  /** The minimum rate at which a client must read a response. */
  readonly slowestClient: MinimumRateLimits;
}

/** A response that was in progress at the last check. */
interface Flow {
  readonly pace: MinimumRate;
  /** Bytes of the connection that the kernel had accepted at the last check. */
  taken: number;
}

/** The interval between checks for slow clients, as a share of the time that they may be slow. */
const LOOKS = 8;
const SHORTEST_LOOK_MS = 50;
const LONGEST_LOOK_MS = 5_000;
/** Milliseconds between two lines of the log about refused connections. */
const LOG_PAUSE_MS = 60_000;

/**
 * Keeps clients from holding too many connections, and from holding responses that they do not read. A client that
 * waits for a slow response is not blamed.
 */
export function limitConnections(server: Server, limits: ConnectionLimits, log: FastifyBaseLogger): void {
  if (limits.maxConnections > 0) server.maxConnections = limits.maxConnections;
  const refused = createTally((count) => log.warn({ count }, `Too many connections: ${count} refused`));
  server.on('drop', refused);
  if (limits.connectionsPerClient > 0) limitEachClient(server, limits, refused);
  if (limits.slowestClient.bytesPerSecond > 0) endSlowAnswers(server, limits.slowestClient, log);
}

function limitEachClient(
  server: Server,
  { connectionsPerClient, exempt }: ConnectionLimits,
  onRefused: () => void,
): void {
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const address = parseIpAddress(socket.remoteAddress ?? '');
    if (address === undefined || exempt.some((range) => range.contains(address))) return;
    const client = clientKey(address.toString());
    const count = (open.get(client) ?? 0) + 1;
    if (count > connectionsPerClient) {
      onRefused();
      socket.destroy();
      return;
    }
    open.set(client, count);
    socket.once('close', () => {
      const left = (open.get(client) ?? 1) - 1;
      if (left > 0) open.set(client, left);
      else open.delete(client);
    });
  });
}

function endSlowAnswers(server: Server, slowest: MinimumRateLimits, log: FastifyBaseLogger): void {
  // Most responses end before the first check. They cost only an entry in this map.
  const flows = new Map<ServerResponse, Flow | undefined>();
  server.on('request', (_request: IncomingMessage, response: ServerResponse) => {
    flows.set(response, undefined);
    response.on('close', () => flows.delete(response));
  });

  let looked = performance.now();
  const look = (): void => {
    const now = performance.now();
    for (const [response, flow] of flows) {
      const { req: request } = response;
      const { socket } = request;
      const taken = takenBy(socket);
      if (flow === undefined) {
        flows.set(response, { pace: createMinimumRate(slowest), taken });
        continue;
      }
      const { pace } = flow;
      const isFast = pace.count(now - looked, taken - flow.taken);
      flow.taken = taken;
      // No bytes wait for this client; the response itself is slow.
      if (socket.writableLength === 0) pace.reset();
      else if (!isFast) {
        log.info(
          { client: socket.remoteAddress, url: request.url },
          'A client that took too little is cut off',
        );
        socket.destroy();
      }
    }
    looked = now;
  };
  const pause = Math.min(Math.max(slowest.patience / LOOKS, SHORTEST_LOOK_MS), LONGEST_LOOK_MS);
  const timer = setInterval(look, pause);
  timer.unref();
  server.once('close', () => clearInterval(timer));
}

/** Bytes that the kernel has accepted. The rest waits in the socket. */
function takenBy(socket: Socket): number {
  return socket.bytesWritten - socket.writableLength;
}

/** Counts frequent events, and logs their number from time to time. */
function createTally(tell: (count: number) => void): () => void {
  let count = 0;
  let told = Number.NEGATIVE_INFINITY;
  return () => {
    count += 1;
    if (performance.now() - told < LOG_PAUSE_MS) return;
    told = performance.now();
    tell(count);
    count = 0;
  };
}

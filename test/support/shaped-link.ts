import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** Rates in bytes per second; unlimited if absent. */
export interface LinkRates {
  /** The rate of all connections together, which share it evenly. */
  readonly line?: number;
  readonly connection?: number;
}

export interface ShapedLink extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
}

const SLICE = 32 * 1024;

/** A TCP proxy that limits the rate of the responses from its target. */
export async function startShapedLink(target: string, { line, connection }: LinkRates): Promise<ShapedLink> {
  const { hostname, port } = new URL(target);
  const shared = rateLimit(line);
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true).on('error', () => {});
      socket.once('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    send(upstream, client, [rateLimit(connection), shared]).catch(() => client.destroy());
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('The link has no port');
  return {
    host: `127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

type Take = (bytes: number) => Promise<void>;

async function send(source: Socket, sink: Socket, limits: readonly Take[]): Promise<void> {
  for await (const chunk of source as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; at += SLICE) {
      const slice = chunk.subarray(at, at + SLICE);
      for (const take of limits) await take(slice.length);
      // Only bytes that the client can accept use the line.
      if (!sink.write(slice)) await once(sink, 'drain');
    }
  }
  sink.end();
}

/** Passes bytes at a rate, in the order of the requests. */
function rateLimit(rate: number | undefined): Take {
  if (rate === undefined) return async () => {};
  let free = 0;
  return async (bytes) => {
    const now = performance.now();
    // Catch up after delays of a busy machine, but not after pauses of the sender.
    free = Math.max(free, now - 50) + (bytes / rate) * 1000;
    if (free - now > 1) await pause(free - now);
  };
}

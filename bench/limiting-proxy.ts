import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

export interface LimitingProxy extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
}

const SLICE = 32 * 1024;

/**
 * Starts a TCP proxy that limits the rate of the responses of its target, separately for each connection.
 *
 * @param rate in bytes per second
 */
export async function startLimitingProxy(target: string, rate: number): Promise<LimitingProxy> {
  const { hostname, port } = new URL(target);
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
    send(upstream, client, rate).catch(() => client.destroy());
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('The proxy has no port');
  return {
    host: `127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function send(source: Socket, sink: Socket, rate: number): Promise<void> {
  let free = 0;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; at += SLICE) {
      const slice = chunk.subarray(at, at + SLICE);
      const now = performance.now();
      // Catch up after delays of a busy machine, but not after pauses of the sender.
      free = Math.max(free, now - 50) + (slice.length / rate) * 1000;
      if (free - now > 1) await pause(free - now);
      // Only bytes that the client can accept use the connection.
      if (!sink.write(slice)) await once(sink, 'drain');
    }
  }
  sink.end();
}
